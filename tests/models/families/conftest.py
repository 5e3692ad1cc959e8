"""Descriptions held to diffusers itself: its classes at published sizes, and plain runs of the tiny pipelines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import diffusers
import pytest
import tiny
import torch
from family_calls import size
from published import REAL

from ditscope.models import block_streams
from ditscope.models.family import BlockList, Family
from ditscope.models.module_arguments import parameter_names
from ditscope.models.pipeline_call import signature_defaults
from ditscope.models.transformer_inputs import TransformerInputs


@dataclass
class PlainRun:
    """A run of a tiny pipeline under plain hooks.

    Attributes:
        given: arguments of every visit, by name.
        scheduled: the scheduler's timesteps.
        heard: of the first visit: path of a module -> its arguments, named arguments and output.
    """

    pipeline: Any
    given: list[dict[str, Any]] = field(default_factory=list)
    scheduled: list[float] = field(default_factory=list)
    heard: dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def plain_run() -> Callable[..., PlainRun]:
    """Name, prompt, call -> what plain hooks hear of it."""

    @functools.cache
    def built(name: str) -> Any:
        pipeline = tiny.built(name)
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()  # as from_pretrained leaves it
        return pipeline

    def run(name: str, prompt: str = tiny.PROMPTS[0], **call: Any) -> PlainRun:
        seen = PlainRun(built(name))
        transformer = seen.pipeline.transformer
        names = list(inspect.signature(type(transformer).forward).parameters)[1:]

        def visit(module: Any, args: Any, kwargs: Any) -> None:
            seen.given.append({**dict(zip(names, args, strict=False)), **kwargs})

        def call_of(path: str) -> Callable[..., None]:
            def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
                seen.heard.setdefault(path, (args, kwargs, output))

            return hook

        with ExitStack() as hooks:
            hooks.enter_context(transformer.register_forward_pre_hook(visit, with_kwargs=True))
            for path, module in transformer.named_modules():
                if path.count(".") < 2:
                    hooks.enter_context(module.register_forward_hook(call_of(path), with_kwargs=True))
            given = {**tiny.TINY[name].call, **size(name), "num_inference_steps": 1, **call}
            seen.pipeline(prompt=prompt, output_type="latent", **given)
        seen.scheduled = [float(timestep) for timestep in seen.pipeline.scheduler.timesteps]
        return seen

    return run


@pytest.fixture(scope="session")
def assert_streams(plain_run) -> Callable[..., None]:
    """Assert that the streams are what the embedders put out, what goes from block to block, and to the readout."""

    def check(
        family: Family, name: str, image: str, text: str | None, grid: tuple[int, int] = (4, 6)
    ) -> None:
        run = plain_run(name)
        transformer, heard = run.pipeline.transformer, run.heard
        inputs = TransformerInputs(family, transformer, ((), run.given[0]))
        assert inputs.grid == grid
        blocks = [
            (f"{each.path}.{number}", layout)
            for each in family.block_lists
            for number, layout in enumerate(each.each(len(getattr(transformer, each.path))))
        ]

        def read(path: str, layout: BlockList, site: str, stream: str) -> torch.Tensor:
            args, kwargs, output = heard[path]
            raw = (args, kwargs) if site == "block_input" else output
            names = parameter_names(transformer.get_submodule(path))
            return block_streams.read(layout, names, site, stream, raw, inputs)

        for stream, source in (("image", image), ("text", text)):
            assert (stream in blocks[0][1].outputs) == (source is not None)
            if source is None:
                continue
            path, _, item = source.partition(":")
            embedded = heard[path][2] if not item else heard[path][2][int(item)]
            first = read(*blocks[0], "block_input", stream)
            assert first.shape[1] == (inputs.text_tokens if stream == "text" else grid[0] * grid[1])
            # The text may come with padding that is taken out before the blocks, the image with reference tokens.
            assert torch.equal(first, embedded[:, : first.shape[1]])
            for (before, layout), (after, following) in zip(blocks, blocks[1:], strict=False):
                put_out = read(before, layout, "block_output", stream)
                assert put_out.shape[1] == first.shape[1]
                assert torch.equal(put_out, read(after, following, "block_input", stream)), after
        if family.readout is not None:
            last = read(*blocks[-1], "block_output", "image")
            assert torch.equal(heard[family.readout][0][0][:, -last.shape[1] :], last)

    return check


@pytest.fixture(scope="session")
def assert_guidance(plain_run) -> Callable[..., None]:
    """Assert in which order a call's branches read the prompt: of two, another prompt changes ``cond`` alone."""

    def texts(run: PlainRun) -> list[torch.Tensor]:
        return [row for given in run.given for row in given["encoder_hidden_states"]]

    def check(family: Family, name: str, call: dict[str, Any], branches: tuple[str, ...]) -> None:
        one, other = (plain_run(name, prompt, **call) for prompt in tiny.PROMPTS)
        same = [torch.equal(*rows) for rows in zip(texts(one), texts(other), strict=True)]
        assert tuple("uncond" if each else "cond" for each in same) == branches
        defaults = signature_defaults(type(one.pipeline))
        full_call = {**defaults, **one.pipeline.config, **tiny.TINY[name].call, **call}
        assert family.guidance.visited(full_call) == branches
        assert len(one.given) == (1 if family.guidance.doubled else len(branches))

    return check


@pytest.fixture(scope="session")
def assert_timesteps(plain_run) -> Callable[..., None]:
    """Assert which timesteps a transformer is passed, and that the description says the same."""

    def check(family: Family, name: str, passed: Callable[[float], float], **call: Any) -> None:
        run = plain_run(name, num_inference_steps=3, **call)
        found = [float(given[family.timestep_argument].flatten()[0]) for given in run.given]
        found = found[:: len(found) // 3]
        assert found == pytest.approx([passed(timestep) for timestep in run.scheduled], rel=1e-5)
        config = run.pipeline.transformer.config
        assert found == pytest.approx([family.timestep(each, config) for each in run.scheduled], rel=1e-5)

    return check


@pytest.fixture(scope="session")
def assert_published() -> Callable[..., None]:
    """Assert that what a description names is in diffusers' own class, at the size of a published model."""

    def check(
        family: Family,
        published: str,
        blocks: dict[str, tuple[int, str]],
        width: int,
        absent: tuple[str, ...] = (),
    ) -> Any:
        assert (family.name, width) == (REAL[published].family, REAL[published].width)
        with torch.device("meta"):
            transformer = getattr(diffusers, family.transformer_class).from_config(REAL[published].config)
        assert hasattr(diffusers, family.pipelines[0])  # the lowest version lacks some of the others
        assert family.channels(transformer.config) == width
        lists = [(each, getattr(transformer, each.path)) for each in family.block_lists]
        assert {each.kind: (len(modules), type(modules[0]).__name__) for each, modules in lists} == blocks
        assert {(each.kind, each.block_class) for each, _ in lists} == {
            (kind, block_class) for kind, (_, block_class) in blocks.items()
        }
        taken = {family.timestep_argument, family.grid_argument, family.text_argument}
        assert taken | {family.text_mask_argument or family.grid_argument} <= arguments(transformer)
        assert transformer.get_submodule(family.readout or "") is not None
        for each, modules in lists:
            for module, layout in zip(modules, each.each(len(modules)), strict=True):
                assert set(layout.inputs.values()) <= arguments(module)
                _assert_modulation(layout, module, width)
            there = {path for module in modules for path, _ in module.named_modules()}
            assert tuple(path for path in each.tapped_modules() if path not in there) == absent
        return transformer

    return check


def arguments(module: torch.nn.Module) -> set[str]:
    return set(inspect.signature(type(module).forward).parameters)


def _assert_modulation(layout: BlockList, block: torch.nn.Module, width: int) -> None:
    """The named parts of what a layer puts out, or of a table, are all that there are of streams that are returned."""
    parts: dict[str, set[int]] = {}
    for stream in layout.streams("block_output"):
        taps = [tap for tap in layout.taps[stream].values() if tap.part is not None]
        taps += [gate for _, gate in layout.also_added.get(stream, ()) if gate is not None]
        for tap in taps:
            assert not tap.argument or tap.argument in arguments(block)
            if tap.module or tap.table:
                parts.setdefault(tap.table or tap.module, set()).add(tap.part)
    for name, used in parts.items():
        source = block.get_parameter(name) if name == "scale_shift_table" else block.get_submodule(name)
        linear = [each for each in getattr(source, "modules", list)() if isinstance(each, torch.nn.Linear)]
        there = set(range(linear[-1].out_features // width if linear else len(source)))
        # SD3.5-medium's second attention has shift, scale and gate of its own; only the gate is read.
        assert there - used in (set(), {6, 7}), name
        assert used - there in (set(), {8}), name
