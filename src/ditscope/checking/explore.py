"""What can be found out about a transformer that no family describes, and a draft of its family file.

Plain PyTorch hooks on short runs; nothing is assumed but that blocks are in lists of modules. Streams are known
by their numbers of tokens, so let image and text have different ones.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from ditscope.checking.explore_guidance import guidance_of
from ditscope.checking.plain_hooks import image_tokens_of
from ditscope.models.family import Guidance
from ditscope.models.module_arguments import named_arguments
from ditscope.models.pipeline_call import step_callback
from ditscope.vocabulary import STREAMS

TEXT_FIRST = ("text", "image")
"""The order of streams in one tensor, which numbers of tokens cannot show; that of FLUX.1 and FLUX.2."""


@dataclass
class Exploration:
    """What a run of an unknown pipeline showed.

    Attributes:
        pipeline: class of the pipeline.
        transformer: class of its transformer.
        lists: path -> class and number of the modules in every list of modules that ran.
        calls: path -> how the first block of a list was called and what it returned.
        returned: path -> tokens of what the first block returned: of its tensor, or of each item of its tuple.
        passed: what the transformer was passed in its first visit.
        n_tokens: image tokens and text tokens that it was passed.
        guidance: how guidance shows in its visits; None if that could not be seen.
        visits_per_step: calls of the transformer divided by steps.
        timesteps: those passed to the transformer, and those of the scheduler.
    """

    pipeline: str
    transformer: str
    lists: dict[str, tuple[str, int]] = field(default_factory=dict)
    calls: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    returned: dict[str, int | tuple[int | None, ...] | None] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    n_tokens: tuple[int, int] = (0, 0)
    guidance: Guidance | None = None
    visits_per_step: float = 0.0
    timesteps: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def timestep_scale(self) -> float | None:
        """By how much the timestep that the transformer is passed grows with the scheduler's."""
        passed, scheduled = self.timesteps
        if not passed or not scheduled or scheduled[0] == scheduled[-1]:
            return None
        return (passed[-1] - passed[0]) / (scheduled[-1] - scheduled[0])

    @property
    def timestep_offset(self) -> float:
        """The timestep that the transformer would be passed at the scheduler's 0."""
        passed, scheduled = self.timesteps
        return passed[0] - self.timestep_scale * scheduled[0] if self.timestep_scale is not None else 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.pipeline} with {self.transformer}, {self.visits_per_step:g} visits a step",
            "  {} image tokens, {} text tokens".format(*self.n_tokens),
            f"  guidance: {self._guidance_in_words()}",
        ]
        lines += [f"  is passed {name}: {value}" for name, value in self.passed.items()]
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
            f"{self._streams(path)}),{self._doubt(path)}\n"
            for n, (path, (kind, _)) in enumerate(self.lists.items())
        )
        scale = self.timestep_scale
        offset = f"    timestep_offset={self.timestep_offset:.4g},\n" if self.timestep_offset > 1e-3 else ""
        grid = next((name for name in ("img_ids", "img_shapes") if name in self.passed), "hidden_states")
        return (
            '__all__ = ["FAMILY"]\n\n'
            "FAMILY = Family(\n"
            f"    name={self.pipeline.removesuffix('Pipeline')!r},\n"
            f"    pipelines=({self.pipeline!r},),\n"
            f"    transformer_class={self.transformer!r},\n"
            f"    block_lists=(\n{blocks}    ),\n"
            f"    guidance={self._guidance()}\n"
            f"    timestep_argument={'timestep' if 'timestep' in self.passed else '?'!r},\n"
            f"    timestep_scale={'?' if scale is None else f'{scale:.4g}'},\n"
            f"{offset}"
            "    token_pixels=2,  # edge of a token in latent cells\n"
            f"    grid_argument={grid!r},\n"
            ")"
        )

    def _streams(self, path: str) -> str:
        """Inputs, outputs and ``joined`` of a list's blocks, by the tokens of what the first one returns."""
        image, text = self.n_tokens
        returned = self.returned[path]
        if isinstance(returned, tuple):
            named = {image: "image", text: "text"}
            outputs = tuple(named[tokens] for tokens in returned if tokens in named)
            outputs = TEXT_FIRST if len(outputs) == 2 and image == text else outputs
            arguments_of = {"image": "hidden_states", "text": "encoder_hidden_states"}
            inputs = {stream: arguments_of[stream] for stream in arguments_of if stream in outputs}
            return f"{inputs}, {outputs}"
        both = returned == image + text
        outputs = TEXT_FIRST if both else ("image",)
        inputs = {stream: "hidden_states" for stream in STREAMS if stream in outputs}
        return f"{inputs}, {outputs}, joined=True"

    def _doubt(self, path: str) -> str:
        """A comment where what a block returns has neither stream's number of tokens, nor the sum."""
        image, text = self.n_tokens
        returned = self.returned[path]
        known = {image, text} if isinstance(returned, tuple) else {image, image + text}
        counts = returned if isinstance(returned, tuple) else (returned,)
        return "" if known.issuperset(counts) else f"  # it returns {returned} tokens"

    def _guidance(self) -> str:
        """The draft's guidance, with what is to be verified."""
        guidance = self.guidance
        if guidance is None:
            return "?,  # its runs are neither one branch nor two that can be known apart"
        if guidance.scale is None:
            if guidance.embedded:
                return "replace(NO_GUIDANCE, embedded=True),"
            return (
                "NO_GUIDANCE,  # no scale made a second branch; perhaps with another config of the pipeline"
            )
        given = [f"branches={guidance.branches}", f"scale={guidance.scale!r}"]
        given += [f"negatives={guidance.negatives}"] if guidance.negatives else []
        given += [f"{name}=True" for name in ("doubled", "embedded") if getattr(guidance, name)]
        return f"Guidance({', '.join(given)}),"

    def _guidance_in_words(self) -> str:
        guidance = self.guidance
        if guidance is None:
            return "not clear from the runs"
        embedded = "; a scale is embedded" if guidance.embedded else ""
        if guidance.scale is None:
            return f"one branch, whatever the scale{embedded}"
        way = "the halves of a doubled batch" if guidance.doubled else "a visit each"
        return f"{', '.join(guidance.branches)}, {way}, where {guidance.scale} exceeds 1{embedded}"


def explore(pipeline: Any, prompt: str = "a small red circle", **call: Any) -> Exploration:
    """Run a pipeline for two steps under plain hooks, and for one step a few times more to see its guidance.

    Args:
        pipeline: a diffusers pipeline with a ``transformer``.
        prompt: what to generate.
        **call: further arguments of the pipeline.
    """
    transformer = pipeline.transformer
    seen = Exploration(type(pipeline).__name__, type(transformer).__name__)
    visits: list[float] = []
    steps: list[int] = []

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given = named_arguments(module, args, kwargs)
        if not visits:
            seen.passed = {name: _shape(value) for name, value in given.items()}
            seen.n_tokens = _passed_tokens(module, given)
        time = given.get("timestep")
        visits.append(float(time.flatten()[0]) if isinstance(time, torch.Tensor) else float("nan"))

    def watch(path: str):
        def after(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            given = {name: _shape(value) for name, value in named_arguments(module, args, kwargs).items()}
            seen.calls.setdefault(path, (given, _shape(output)))
            counts = tuple(map(_tokens, output)) if isinstance(output, tuple) else _tokens(output)
            seen.returned.setdefault(path, counts)

        return after

    lists = {
        path: module
        for path, module in transformer.named_children()
        if isinstance(module, torch.nn.ModuleList) and len(module) > 1
    }

    def at_step_end(*_: Any) -> dict[str, Any]:
        steps.append(len(visits))
        return {}

    clock = {step_callback(pipeline): at_step_end}
    with ExitStack() as hooks:
        hooks.enter_context(transformer.register_forward_pre_hook(before, with_kwargs=True))
        for path, modules in lists.items():
            hooks.enter_context(modules[0].register_forward_hook(watch(path), with_kwargs=True))
        pipeline(prompt=prompt, **{"num_inference_steps": 2, **call}, output_type="latent", **clock)
    for path in seen.calls:
        classes = Counter(type(module).__name__ for module in lists[path])
        seen.lists[path] = (classes.most_common(1)[0][0], len(lists[path]))
    seen.visits_per_step = len(visits) / max(1, len(steps))
    seen.timesteps = (visits, [float(value) for value in pipeline.scheduler.timesteps])
    seen.guidance = guidance_of(pipeline, prompt, **call)
    return seen


def _passed_tokens(transformer: Any, given: dict[str, Any]) -> tuple[int, int]:
    """Image and text tokens that a transformer is passed, 0 where it is passed none in a known form."""
    latents, text = given.get("hidden_states"), _tokens(given.get("encoder_hidden_states")) or 0
    if not isinstance(latents, torch.Tensor):
        return 0, text
    patched = latents.ndim == 4 and isinstance(transformer.config.get("patch_size"), int)
    known = latents.ndim == 3 or patched
    return (image_tokens_of(transformer, latents, given) if known else 0), text


def _tokens(value: Any) -> int | None:
    """Tokens of a tensor ``[row, token, channel]``."""
    return value.shape[1] if isinstance(value, torch.Tensor) and value.ndim == 3 else None


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shape, value))})" if len(value) < 5 else f"{len(value)} values"
    return repr(value) if isinstance(value, int | float | bool | str | None) else type(value).__name__
