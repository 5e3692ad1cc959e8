"""Where a block's streams are in what it takes and returns, from layouts alone."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.block_streams import among, read, require_site, require_stream, tokens_of, write
from ditscope.models.family import BlockList
from ditscope.models.hook_points import Tap

APART = BlockList("a", "double", "A", {"image": "hidden", "text": "encoder"}, ("text", "image"))
TOGETHER = BlockList(
    "b", "single", "B", {"image": "hidden", "text": "hidden"}, ("text", "image"), joined=True
)
IMAGE_FIRST = dataclasses.replace(TOGETHER, outputs=("image", "text"))
ALONE = BlockList("c", "cross", "C", {"image": "hidden"}, ("image",), joined=True)
NAMES = ("hidden", "encoder")


def inputs(*, image: int = 4, text: int = 3, registers: int = 0, reference: int = 0) -> SimpleNamespace:
    """Numbers of tokens at a visit, with two reference images that share theirs evenly."""
    ends = (0, image, image + reference // 2, image + reference)
    return SimpleNamespace(
        image_tokens=image,
        text_tokens=text,
        register_tokens=registers,
        reference_tokens=reference,
        tokens_of=lambda number: slice(ends[number], ends[number + 1]),
    )


@pytest.mark.parametrize(
    ("layout", "stream", "counts", "expected"),
    [
        (APART, "image", {}, None),
        (APART, "image", {"reference": 2}, slice(0, 4)),
        (APART, "text", {}, None),
        (APART, "text", {"registers": 2}, slice(2, 5)),
        (TOGETHER, "text", {}, slice(0, 3)),
        (TOGETHER, "image", {}, slice(3, 7)),
        (TOGETHER, "text", {"registers": 2}, slice(2, 5)),
        (TOGETHER, "image", {"registers": 2, "reference": 2}, slice(5, 9)),
        (ALONE, "image", {}, None),
        (ALONE, "image", {"reference": 2}, slice(0, 4)),
    ],
)
def test_a_stream_has_its_tokens(layout, stream, counts, expected) -> None:
    assert tokens_of(layout, stream, inputs(**counts)) == expected


@pytest.mark.parametrize(
    ("layout", "number", "expected"),
    [
        (APART, 1, slice(4, 5)),
        (APART, 2, slice(5, 6)),
        (TOGETHER, 1, slice(9, 10)),
        (TOGETHER, 2, slice(10, 11)),
        (IMAGE_FIRST, 2, slice(5, 6)),
    ],
)
def test_a_reference_image_has_its_tokens_behind_the_generated_one(layout, number, expected) -> None:
    given = inputs(registers=2, reference=2)
    assert tokens_of(layout, "image", given, image=number) == expected


def test_text_comes_behind_all_images_where_it_comes_behind_images() -> None:
    assert tokens_of(IMAGE_FIRST, "text", inputs(reference=2)) == slice(6, 9)


def test_a_tap_may_join_the_streams_of_a_block_that_does_not() -> None:
    assert tokens_of(APART, "image", inputs(), joined=True) == slice(3, 7)
    assert tokens_of(TOGETHER, "image", inputs(), joined=False) is None


def test_tokens_are_replaced_among_others() -> None:
    whole, own = torch.arange(6.0).reshape(1, 6, 1), -torch.ones(1, 2, 1)
    assert among(whole, slice(1, 3), own).flatten().tolist() == [0, -1, -1, 3, 4, 5]
    assert among(whole, None, own) is own


@pytest.mark.parametrize("layout", [APART, TOGETHER])
@pytest.mark.parametrize("stream", ["image", "text"])
@pytest.mark.parametrize("site", ["block_input", "block_output"])
def test_what_is_written_is_read_and_the_other_stream_is_left_alone(layout, stream, site) -> None:
    text, image = torch.zeros(1, 3, 2), torch.ones(1, 4, 2)
    joined = torch.cat([text, image], dim=1)
    if site == "block_input":
        raw = ((), {"hidden": joined}) if layout.joined else ((image,), {"encoder": text})
    else:
        raw = joined if layout.joined else (text, image)
    other = "text" if stream == "image" else "image"
    old = {name: read(layout, NAMES, site, name, raw, inputs()) for name in (stream, other)}
    assert old["image"].equal(image)
    assert old["text"].equal(text)
    new = write(layout, NAMES, site, stream, raw, old[stream] + 5, inputs())
    assert read(layout, NAMES, site, stream, new, inputs()).equal(old[stream] + 5)
    assert read(layout, NAMES, site, other, new, inputs()).equal(old[other])
    assert type(new) is type(raw)


def test_sites_and_streams_that_a_block_does_not_have_are_refused_by_name() -> None:
    tapped = BlockList(
        "a",
        "joint",
        "A",
        {"image": "x", "text": "y"},
        ("text", "image"),
        taps={"image": {"attn_output": Tap("attn")}},
    )
    require_site(tapped, "attn_output")
    require_stream(tapped, "image", "attn_output")
    with pytest.raises(UnsupportedError, match="site 'mlp_output' asked of a joint block"):
        require_site(tapped, "mlp_output")
    with pytest.raises(UnsupportedError, match="stream 'text' asked of a joint block at attn_output"):
        require_stream(tapped, "text", "attn_output")
    with pytest.raises(InputError):
        require_site(tapped, "nowhere")
    last = dataclasses.replace(APART, returned=("image",))
    require_stream(last, "text", "block_input")
    with pytest.raises(
        UnsupportedError, match="stream 'text' asked of the last double block at block_output"
    ):
        require_stream(last, "text")
