"""What can be found out about a transformer that no family describes, and a draft of its family file.

Plain PyTorch hooks on one short run; nothing is assumed but that blocks are in lists of modules.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ditscope.tracing.reference import step_callback


@dataclass
class Exploration:
    """What a run of an unknown pipeline showed.

    Attributes:
        pipeline: class of the pipeline.
        transformer: class of its transformer.
        lists: path -> class and number of the modules in every list of modules that ran.
        calls: path -> how the first block of a list was called and what it returned.
        handed: what the transformer was handed in its first visit.
        visits_per_step: calls of the transformer divided by steps.
        timesteps: those handed to the transformer, and those of the scheduler.
    """

    pipeline: str
    transformer: str
    lists: dict[str, tuple[str, int]] = field(default_factory=dict)
    calls: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    handed: dict[str, str] = field(default_factory=dict)
    visits_per_step: float = 0.0
    timesteps: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def timestep_scale(self) -> float | None:
        """By how much the timestep that the transformer is handed grows with the scheduler's."""
        handed, scheduled = self.timesteps
        if not handed or not scheduled or scheduled[0] == scheduled[-1]:
            return None
        return (handed[-1] - handed[0]) / (scheduled[-1] - scheduled[0])

    @property
    def timestep_offset(self) -> float:
        """The timestep that the transformer would be handed at the scheduler's 0."""
        handed, scheduled = self.timesteps
        return handed[0] - self.timestep_scale * scheduled[0] if self.timestep_scale is not None else 0.0

    def __str__(self) -> str:
        lines = [f"{self.pipeline} with {self.transformer}, {self.visits_per_step:g} visits a step"]
        lines += [f"  handed {name}: {value}" for name, value in self.handed.items()]
        for path, (kind, count) in self.lists.items():
            arguments, returned = self.calls[path]
            lines.append(f"  {path}: {count} x {kind}")
            lines += [f"    takes {name}: {value}" for name, value in arguments.items()]
            lines.append(f"    returns {returned}")
        return "\n".join(
            [*lines, "", "A draft of its family file; verify every line of it:", "", self.draft()]
        )

    def draft(self) -> str:
        """A family file to be completed and verified."""
        blocks = "".join(
            f"        BlockList({path!r}, {'block' if n == 0 else f'block{n}'!r}, {kind!r}, "
            f"{self._inputs(path)}, {self._outputs(path)}),\n"
            for n, (path, (kind, _)) in enumerate(self.lists.items())
        )
        scale = self.timestep_scale
        offset = f"    timestep_offset={self.timestep_offset:.4g},\n" if self.timestep_offset > 1e-3 else ""
        grid = next((name for name in ("img_ids", "img_shapes") if name in self.handed), "hidden_states")
        return (
            "FAMILY = Family(\n"
            f"    name={self.pipeline.removesuffix('Pipeline')!r},\n"
            f"    pipelines=({self.pipeline!r},),\n"
            f"    transformer_class={self.transformer!r},\n"
            f"    block_lists=(\n{blocks}    ),\n"
            "    guidance=NO_GUIDANCE,  # or which argument scales it, and whether it doubles the batch\n"
            f"    timestep_argument={'timestep' if 'timestep' in self.handed else '?'!r},\n"
            f"    timestep_scale={'?' if scale is None else f'{scale:.4g}'},\n"
            f"{offset}"
            "    token_pixels=2,  # edge of a token in latent cells\n"
            f"    grid_argument={grid!r},\n"
            ")"
        )

    def _inputs(self, path: str) -> dict[str, str]:
        names = {"image": "hidden_states", "text": "encoder_hidden_states"}
        arguments, _ = self.calls[path]
        return {stream: name for stream, name in names.items() if arguments.get(name, "None") != "None"}

    def _outputs(self, path: str) -> str:
        _, returned = self.calls[path]
        return '("text", "image")' if returned.startswith("(") else '("image",), joined=True'


def explore(pipeline: Any, prompt: str = "a small red circle", **call: Any) -> Exploration:
    """Run a pipeline for two steps under plain hooks.

    Args:
        pipeline: a diffusers pipeline with a ``transformer``.
        prompt: what to generate.
        **call: further arguments of the pipeline.
    """
    transformer = pipeline.transformer
    found = Exploration(type(pipeline).__name__, type(transformer).__name__)
    visits: list[float] = []
    steps: list[int] = []

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given = _named(module, args, kwargs)
        if not visits:
            found.handed = {name: _shape(value) for name, value in given.items()}
        time = given.get("timestep")
        visits.append(float(time.flatten()[0]) if isinstance(time, torch.Tensor) else float("nan"))

    def watch(path: str):
        def after(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            given = {name: _shape(value) for name, value in _named(module, args, kwargs).items()}
            found.calls.setdefault(path, (given, _shape(output)))

        return after

    handles = [transformer.register_forward_pre_hook(before, with_kwargs=True)]
    lists = {
        path: module
        for path, module in transformer.named_children()
        if isinstance(module, torch.nn.ModuleList) and len(module) > 1
    }
    handles += [
        modules[0].register_forward_hook(watch(path), with_kwargs=True) for path, modules in lists.items()
    ]

    def at_step_end(*_: Any) -> dict[str, Any]:
        steps.append(len(visits))
        return {}

    try:
        pipeline(
            prompt=prompt,
            **{"num_inference_steps": 2, **call},
            output_type="latent",
            **{step_callback(pipeline): at_step_end},
        )
    finally:
        for handle in handles:
            handle.remove()
    for path in found.calls:
        classes = Counter(type(module).__name__ for module in lists[path])
        found.lists[path] = (classes.most_common(1)[0][0], len(lists[path]))
    found.visits_per_step = len(visits) / max(1, len(steps))
    found.timesteps = (visits, [float(value) for value in pipeline.scheduler.timesteps])
    return found


def _named(module: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shape, value))})" if len(value) < 5 else f"{len(value)} values"
    return repr(value) if isinstance(value, int | float | bool | str | None) else type(value).__name__
