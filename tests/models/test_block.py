"""Blocks and their streams inside a trace, against plain PyTorch hooks on the bare pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.errors import InputError, UnsupportedError, VisitError
from ditscope.models.block_streams import require_stream

SITES, STREAMS = ("block_input", "block_output"), ("image", "text")
PLACES = [(site, stream) for site in SITES for stream in STREAMS]
ATTRIBUTES = {
    ("block_input", "image"): "image_input",
    ("block_input", "text"): "text_input",
    ("block_output", "image"): "image",
    ("block_output", "text"): "text",
}
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
EDITED = {(1, 2), (2, 0), (2, 7)}
"""(visit, block) where the tests edit: both kinds of block, both branches, both steps."""


@pytest.fixture(scope="module")
def bare(untrained_folder) -> Any:
    return bare_pipeline.opened(untrained_folder)


@pytest.fixture(scope="module")
def plain(bare) -> bare_pipeline.Seen:
    return bare_pipeline.generate(bare, ["a red circle", "a white star"], [5, 6], **CALL)


def traced(dit, at_place: Callable[[Any, Any, str, str], None] | None = None) -> bare_pipeline.Seen:
    """All hidden states and the images of a traced run, with something done before each read."""
    seen = bare_pipeline.Seen()
    with dit.generate(["a red circle", "a white star"], seed=5, output_type="np", **CALL) as tracer:
        for visit in dit.visits(tracer):
            for block in dit.blocks:
                for site, stream in PLACES:
                    if at_place is not None:
                        at_place(visit, block, site, stream)
                    seen.hidden[visit.index, block.index, site, stream] = block.read(site, stream).clone()
        result = tracer.result.save()
    seen.images = np.round(result.images * 255).astype(np.uint8)
    return seen


def assert_equal(found: bare_pipeline.Seen, expected: bare_pipeline.Seen) -> None:
    assert found.hidden.keys() == expected.hidden.keys()
    wrong = [place for place in expected.hidden if not found.hidden[place].equal(expected.hidden[place])]
    assert wrong == []
    assert np.array_equal(found.images, expected.images)


def test_blocks_are_listed_in_execution_order(dit) -> None:
    assert [block.index for block in dit.blocks] == list(range(10))
    assert [block.kind for block in dit.blocks] == ["double"] * 4 + ["single"] * 6
    assert [block.name for block in dit.blocks] == [f"double.{i}" for i in range(4)] + [
        f"single.{i}" for i in range(6)
    ]
    transformer = dit.diffusers_pipeline.transformer
    modules = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    assert [block._module for block in dit.blocks] == modules


def test_every_stream_at_every_site_reads_what_plain_hooks_see(dit, plain) -> None:
    assert_equal(traced(dit), plain)


def test_stream_properties_read_the_same_as_read(dit, plain) -> None:
    wrong = []
    with dit.generate(["a red circle", "a white star"], seed=5, output_type="np", **CALL) as tracer:
        for visit in dit.visits(tracer):
            for block in dit.blocks:
                for site, stream in PLACES:
                    value = getattr(block, ATTRIBUTES[site, stream])
                    if not value.equal(plain.hidden[visit.index, block.index, site, stream]):
                        wrong.append((visit.index, block.name, site, stream))
        images = tracer.result.images.save()
    assert wrong == []
    # Reading marks a stream for write-back, which must not change it.
    assert np.array_equal(np.round(images * 255).astype(np.uint8), plain.images)


def assign(block: Any, name: str) -> None:
    setattr(block, name, getattr(block, name) * 0.5)


def assign_slice(block: Any, name: str) -> None:
    getattr(block, name)[:, 3:9, 7] = 2.0


def add_in_place(block: Any, name: str) -> None:
    view = getattr(block, name)
    view[0, :, ::3] += 0.25


def write(block: Any, name: str) -> None:
    site = "block_input" if name.endswith("_input") else "block_output"
    stream = name.removesuffix("_input")
    block.write(site, stream, -block.read(site, stream))


def sliced(tensor: torch.Tensor) -> torch.Tensor:
    tensor[:, 3:9, 7] = 2.0
    return tensor


def first_row_raised(tensor: torch.Tensor) -> torch.Tensor:
    tensor[0, :, ::3] += 0.25
    return tensor


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("in_trace", "in_hook"),
    [
        (assign, lambda tensor: tensor * 0.5),
        (assign_slice, sliced),
        (add_in_place, first_row_raised),
        (write, lambda tensor: -tensor),
    ],
)
def test_a_write_is_what_a_hook_that_returns_it_gives(dit, bare, plain, place, in_trace, in_hook) -> None:
    def at_place(visit: Any, block: Any, site: str, stream: str) -> None:
        if (site, stream) == place and (visit.index, block.index) in EDITED:
            in_trace(block, ATTRIBUTES[place])

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        return in_hook(tensor.clone()) if (visit, block) in EDITED else tensor

    prompts, seeds = ["a red circle", "a white star"], [5, 6]
    expected = bare_pipeline.generate(bare, prompts, seeds, edits={place: hook}, **CALL)
    assert not np.array_equal(expected.images, plain.images)
    assert_equal(traced(dit, at_place), expected)


@pytest.mark.parametrize("first", STREAMS)
@pytest.mark.parametrize("site", SITES)
def test_both_streams_of_one_place_take_their_own_write(dit, bare, site, first) -> None:
    second = "text" if first == "image" else "image"

    def at_place(visit: Any, block: Any, here: str, stream: str) -> None:
        if here == site and stream == "image" and (visit.index, block.index) in EDITED:
            # The view of one stream is pending when the other is assigned.
            getattr(block, ATTRIBUTES[site, first])[:, :, 11] = 1.5
            setattr(block, ATTRIBUTES[site, second], getattr(block, ATTRIBUTES[site, second]) * 0.5)

    def column(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        if (visit, block) in EDITED:
            tensor[:, :, 11] = 1.5
        return tensor

    def half(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 0.5 if (visit, block) in EDITED else tensor

    edits = {(site, first): column, (site, second): half}
    expected = bare_pipeline.generate(bare, ["a red circle", "a white star"], [5, 6], edits=edits, **CALL)
    assert_equal(traced(dit, at_place), expected)


@pytest.mark.parametrize("wrong", [lambda image: image[:1], lambda image: image[..., 0], lambda image: 0.0])
@pytest.mark.parametrize("site", SITES)
def test_a_tensor_of_another_shape_is_refused_where_it_is_written(dit, site, wrong) -> None:
    def write_wrong() -> None:
        with dit.generate(["a red circle", "a white star"], seed=5, num_inference_steps=1) as tracer:
            for _visit in dit.visits(tracer):
                dit.blocks[2].write(site, "image", wrong(dit.blocks[2].read(site, "image")))
            tracer.result.save()

    with pytest.raises(InputError, match=r"written to the image stream.*\(2, 256, 128\)"):
        write_wrong()


def read_in_order(dit, late: tuple[Any, str], late_from: int) -> None:
    """Read single.1 in every visit, and then, from visit ``late_from`` on, something before it."""
    with dit.generate("a red circle", seed=0, **CALL) as tracer:
        for visit in dit.visits(tracer):
            dit.blocks[5].image.clone()
            if visit.index >= late_from:
                getattr(*late)[:] = 0
        tracer.result.save()


@pytest.mark.parametrize("late_from", [0, 1, 3])
@pytest.mark.parametrize(("block", "name"), [(2, "image"), (5, "image_input"), (4, "text")])
def test_blocks_out_of_order_are_refused_at_every_visit(dit, late_from, block, name) -> None:
    # Without a check nnsight serves this from the next visit, silently, from the second visit on.
    with pytest.raises(VisitError, match=rf"body of visit {late_from}.*in execution order"):
        read_in_order(dit, (dit.blocks[block], name), late_from)


class BodyError(Exception):
    """Raised by a test inside a trace."""


def test_an_exception_in_the_body_keeps_its_type_and_the_next_run_is_clean(dit, plain) -> None:
    def broken() -> None:
        with dit.generate("a red circle", seed=0, **CALL) as tracer:
            for visit in dit.visits(tracer):
                dit.blocks[4].image[:] = 0
                if visit.index == 2:
                    raise BodyError(f"at visit {visit.index}")
            tracer.result.save()

    with pytest.raises(BodyError, match="at visit 2"):
        broken()
    images = dit.generate(["a red circle", "a white star"], seed=5, output_type="np", **CALL).images
    assert np.array_equal(np.round(images * 255).astype(np.uint8), plain.images)
    assert_equal(traced(dit), plain)


def test_a_stream_that_a_block_lacks_is_refused_by_name(dit) -> None:
    lacking = dataclasses.replace(dit.blocks[0].layout, outputs=("image",))
    with pytest.raises(UnsupportedError, match="stream 'text' asked of a double block"):
        require_stream(lacking, "text")
