"""CogView4 against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.cogview4 import COGVIEW4


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"double": (28, "CogView4TransformerBlock")}
    assert_published(COGVIEW4, "CogView4-6B", blocks, width=4096)


def test_streams_are_returned_image_first(assert_streams, plain_run) -> None:
    assert_streams(COGVIEW4, "cogview4", image="patch_embed:0", text="patch_embed:1", grid=(8, 12))
    image, text = plain_run("cogview4").heard["transformer_blocks.0"][2]
    assert (image.shape[1], text.shape[1]) == (8 * 12, 16)


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("cond", "uncond")),  # the pipeline's own scale is 5
        ({"guidance_scale": 3.0, "negative_prompt": "plain"}, ("cond", "uncond")),
        ({"guidance_scale": 1.0}, ("cond",)),
    ],
)
def test_the_scale_alone_makes_a_second_visit(assert_guidance, call, branches) -> None:
    assert_guidance(COGVIEW4, "cogview4", call, branches)


def test_the_timestep_is_the_schedulers_own(assert_timesteps) -> None:
    assert_timesteps(COGVIEW4, "cogview4", lambda timestep: timestep)
