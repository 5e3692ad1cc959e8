"""Stable Diffusion 3 and 3.5 against diffusers' own class and plain runs of the tiny pipelines."""

from __future__ import annotations

import pytest

from ditscope.models.families.sd3 import SD3


@pytest.mark.parametrize(
    ("published", "n_blocks", "width", "absent"),
    [
        ("SD3-medium", 24, 1536, ("attn2",)),
        ("SD3.5-medium", 24, 1536, ()),
        ("SD3.5-large", 38, 2432, ("attn2",)),
    ],
)
def test_what_it_names_is_in_the_published_transformer(
    assert_published, published, n_blocks, width, absent
) -> None:
    """The second attention is SD3.5-medium's alone."""
    assert_published(SD3, published, {"joint": (n_blocks, "JointTransformerBlock")}, width, absent)


@pytest.mark.parametrize("name", ["sd3", "sd3.5-medium"])
def test_streams_are_returned_text_first_and_by_the_last_block_no_text(
    assert_streams, plain_run, name
) -> None:
    assert_streams(SD3, name, image="pos_embed", text="context_embedder")
    returned = [plain_run(name).heard[f"transformer_blocks.{number}"][2][0] for number in range(3)]
    assert [text is None for text in returned] == [False, False, True]
    (layout,) = SD3.block_lists
    assert [each.streams("block_output") for each in layout.each(3)] == [("text", "image")] * 2 + [("image",)]


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("uncond", "cond")),  # the pipeline's own scale is 7
        ({"guidance_scale": 1.0, "negative_prompt": "plain"}, ("cond",)),
    ],
)
def test_the_scale_alone_doubles_the_batch(assert_guidance, call, branches) -> None:
    assert_guidance(SD3, "sd3", call, branches)


def test_the_timestep_is_the_schedulers_own(assert_timesteps) -> None:
    assert_timesteps(SD3, "sd3", lambda timestep: timestep)
