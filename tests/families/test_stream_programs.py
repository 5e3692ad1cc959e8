"""Random programs on a block's streams give, bit for bit, what they give in plain PyTorch hooks.

A program reads, assigns, slices and writes in place, in any order, as a body in a trace may. The plain hooks run it
on copies of the very streams, put together afterwards, so that an edit that is lost, or that reaches another
tensor by shared memory, shows in the latents that come out.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import plain_hooks
import pytest
import tiny
import torch
from diffusers import FluxKontextPipeline
from family_calls import N_STEPS, NAMES, batch, call
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pictures import picture

import ditscope as ds
from ditscope.tracing.samples import call_of

SEED, STREAMS = 3, ("image", "text")
REFERENCE = {
    "flux2-klein": {"image": [picture(64, 80)], "height": 16, "width": 24},
    "kontext": {
        "image": picture(20, 16),
        "_auto_resize": False,
        "max_area": 16 * 24,
        "max_sequence_length": 14,
        "height": 16,
        "width": 24,
    },
}
"""Calls with a reference image, whose tokens stand behind the 4 x 6 of the generated one."""

INDICES: dict[str, Callable[[torch.Tensor], Any]] = {
    "every other token": lambda tensor: (slice(None), slice(None, None, 2)),
    "every other channel": lambda tensor: (..., slice(None, None, 2)),
    "first row": lambda tensor: slice(0, 1),
    "two tokens": lambda tensor: (slice(None), [0, -1]),
    "two channels": lambda tensor: (..., [-1, 0]),
    "above zero": lambda tensor: tensor > 0,
}
CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "+=": lambda tensor: tensor.__iadd__(0.25),
    "mul_": lambda tensor: tensor.mul_(-0.5),
    "zero_": lambda tensor: tensor.zero_(),
    "clamp_": lambda tensor: tensor.clamp_(-0.5, 0.75),
    "neg_, transposed": lambda tensor: tensor.transpose(0, -1).neg_(),
}

_stream, _held = st.sampled_from(STREAMS), st.integers(0, 3)
_index, _change = st.sampled_from(sorted(INDICES)), st.sampled_from(sorted(CHANGES))
INSTRUCTIONS = st.one_of(
    st.tuples(st.just("read"), _stream),
    st.tuples(st.just("view"), _held, _index.filter(lambda index: index != "above zero")),
    st.tuples(st.just("set"), _held, _index, st.sampled_from([0.0, 1.5])),
    st.tuples(st.just("change"), _held, _change),
    st.tuples(st.just("change part"), _held, _index, _change),
    st.tuples(st.just("assign"), _stream, _held),
    st.tuples(st.just("assign scaled"), _stream),
    st.tuples(st.just("augment"), _stream, _change),
)
PROGRAMS = st.lists(st.lists(INSTRUCTIONS, max_size=9), min_size=1, max_size=5)

READ_BOTH_THEN_EDIT = [
    [("read", "image"), ("read", "text"), ("change", 0, "zero_"), ("change", 1, "mul_")],
    [("read", "text"), ("assign scaled", "image"), ("change", 0, "+="), ("augment", "image", "clamp_")],
]


def carry_out(program: list[tuple], streams: Any) -> None:
    """Run a program on an object whose attributes are the streams; instructions that do not fit do nothing."""
    held: list[torch.Tensor] = []
    for what, *values in program:
        if what in ("read", "assign", "assign scaled", "augment") and not hasattr(streams, values[0]):
            continue
        if what == "read":
            held.append(getattr(streams, values[0]))
        elif what == "assign scaled":
            setattr(streams, values[0], getattr(streams, values[0]) * 0.5)
        elif what == "augment":
            value = getattr(streams, values[0])
            CHANGES[values[1]](value)
            setattr(streams, values[0], value)
        elif held and what == "assign":
            value = held[values[1] % len(held)]
            if value.shape == getattr(streams, values[0]).shape:
                setattr(streams, values[0], value)
        elif held:
            tensor = held[values[0] % len(held)]
            place = INDICES[values[1]](tensor) if what != "change" else None
            if what == "view":
                held.append(tensor[place])
            elif what == "set":
                tensor[place] = values[2]
            elif what == "change":
                CHANGES[values[1]](tensor)
            else:
                part = tensor[place]
                CHANGES[values[2]](part)
                tensor[place] = part


class AtEnd:
    """The streams at one end of a block in a trace, under the names that a program has for them."""

    def __init__(self, block: Any, site: str) -> None:
        object.__setattr__(self, "_where", (block, site))

    def __getattr__(self, stream: str) -> torch.Tensor:
        block, site = self._where
        if stream not in block.layout.streams(site):
            raise AttributeError(stream)
        return getattr(block, stream if site == "block_output" else f"{stream}_input")

    def __setattr__(self, stream: str, tensor: torch.Tensor) -> None:
        block, site = self._where
        setattr(block, stream if site == "block_output" else f"{stream}_input", tensor)


def latents_in_trace(dit: Any, prompts: list[str], programs: list, arguments: dict) -> torch.Tensor:
    order = itertools.cycle(programs)
    arguments = call_of(dit, [(prompt, SEED) for prompt in prompts], arguments)
    with dit.generate(**arguments, output_type="latent") as tracer:
        for _visit in dit.visits(tracer):
            for block in dit.blocks:
                for site in ("block_input", "block_output"):
                    carry_out(next(order), AtEnd(block, site))
        images = tracer.result.images.save()
    return images


class PlainPrograms:
    """Hooks that run the programs; they know of a family what ``plain_hooks`` knows."""

    def __init__(self, name: str, programs: list, reference: bool) -> None:
        self._name, self._order, self._text = name, itertools.cycle(programs), 0
        self._image_tokens = 4 * 6 if reference else None

    def begin_visit(self, module: Any, args: Any, kwargs: Any) -> None:
        text = kwargs["encoder_hidden_states"]
        mask = kwargs["encoder_attention_mask"] if self._name == "lumina2" else torch.ones(text.shape[:2])
        self._text = int(mask.sum(dim=1).max())

    def at_input(self, block: Any, args: Any, kwargs: Any) -> Any:
        given = {
            **dict(zip(inspect.signature(type(block).forward).parameters, (None, *args), strict=False)),
            **kwargs,
        }
        given.pop("self", None)
        text = given.get("encoder_hidden_states") if self._name not in plain_hooks.IMAGE_ONLY else None
        given["hidden_states"], text = self._changed(given["hidden_states"], text)
        if text is not None:
            given["encoder_hidden_states"] = text
        return (), given

    def at_output(self, block: Any, args: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return self._changed(output, None)[0]
        image_first = self._name in plain_hooks.IMAGE_FIRST
        image, text = self._changed(*(output if image_first else output[::-1]))
        return (image, text) if image_first else (text, image)

    def _changed(self, image: torch.Tensor, text: torch.Tensor | None) -> tuple[torch.Tensor, Any]:
        """What carries the image, and the text if that is apart, after the next program."""
        registers = plain_hooks.REGISTERS.get(self._name, 0)
        joined = (
            text is None and not self._name.startswith("sd3") and self._name not in plain_hooks.IMAGE_ONLY
        )
        start = registers + self._text if joined else 0
        end = image.shape[1] if self._image_tokens is None else start + self._image_tokens
        streams = type("Streams", (), {})()
        streams.image = image[:, start:end].clone()
        if joined:
            streams.text = image[:, registers:start].clone()
        elif text is not None:
            streams.text = text[:, registers:].clone()
        carry_out(next(self._order), streams)
        parts = [image[:, :registers], streams.text] if joined else []
        if text is not None:
            text = torch.cat([text[:, :registers], streams.text], dim=1)
        return torch.cat([*parts, streams.image, image[:, end:]], dim=1), text


def latents_in_hooks(
    pipeline: Any, name: str, prompts: list[str], programs: list, arguments: dict
) -> torch.Tensor:
    running = PlainPrograms(name, programs, "image" in arguments)
    handles = [pipeline.transformer.register_forward_pre_hook(running.begin_visit, with_kwargs=True)]
    for block in plain_hooks.blocks_of(pipeline):
        handles.append(block.register_forward_pre_hook(running.at_input, with_kwargs=True))
        handles.append(block.register_forward_hook(running.at_output))
    generators = [torch.Generator().manual_seed(SEED) for _ in prompts]
    if isinstance(arguments.get("negative_prompt"), str):
        arguments = {**arguments, "negative_prompt": [arguments["negative_prompt"]] * len(prompts)}
    try:
        return pipeline(prompt=prompts, generator=generators, output_type="latent", **arguments).images
    finally:
        for handle in handles:
            handle.remove()


def require_what_hooks_give(dit: Any, name: str, prompts: list[str], arguments: dict) -> None:
    @settings(max_examples=2, deadline=None, derandomize=True, database=None)
    @given(PROGRAMS)
    @example(READ_BOTH_THEN_EDIT)
    def compare(programs: list) -> None:
        expected = latents_in_hooks(plain_hooks.opened(dit.name), name, prompts, programs, arguments)
        assert expected.isfinite().all()
        assert latents_in_trace(dit, prompts, programs, arguments).equal(expected)

    compare()


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_what_plain_hooks_give(opened, name) -> None:
    arguments = {**tiny.TINY[name].call, **call(name), "num_inference_steps": 1}
    require_what_hooks_give(opened(name), name, batch(name), arguments)


@pytest.mark.parametrize("name", REFERENCE)
def test_a_program_beside_a_reference_image_gives_what_plain_hooks_give(
    opened, folder_of, tmp_path, name
) -> None:
    if name == "kontext":
        FluxKontextPipeline.from_pipe(plain_hooks.opened(folder_of("flux"))).save_pretrained(tmp_path)
    dit = ds.load(str(tmp_path)) if name == "kontext" else opened(name)
    defaults = {} if name == "kontext" else tiny.TINY[name].call
    arguments = {**defaults, **REFERENCE[name], "num_inference_steps": N_STEPS}
    require_what_hooks_give(dit, name, batch(name)[:1], arguments)


@pytest.mark.parametrize("name", ["flux2-klein", "auraflow"])
def test_reading_copies_nothing(opened, name) -> None:
    dit, same = opened(name), []
    with dit.generate("a red star", seed=SEED, **{**call(name), "num_inference_steps": 1}) as tracer:
        for _visit in dit.visits(tracer):
            for block in dit.blocks:
                raw = block.output
                block.image += 0.5
                same.append(block.text.shape[0] > 0 and block.output is raw)
        tracer.result.save()
    assert all(same)
    assert len(same) >= len(dit.blocks)
