"""PixArt-Sigma against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.pixart import PIXART_SIGMA


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"cross": (28, "BasicTransformerBlock")}
    transformer = assert_published(PIXART_SIGMA, "PixArt-Sigma", blocks, width=1152)
    assert transformer.config.out_channels == 2 * transformer.config.in_channels  # a learned variance


def test_blocks_carry_the_image_alone(assert_streams) -> None:
    assert_streams(PIXART_SIGMA, "pixart-sigma", image="pos_embed", text=None)


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("uncond", "cond")),  # the pipeline's own scale is 4.5
        ({"guidance_scale": 1.0}, ("cond",)),
    ],
)
def test_the_scale_alone_doubles_the_batch(assert_guidance, call, branches) -> None:
    assert_guidance(PIXART_SIGMA, "pixart-sigma", call, branches)


def test_the_timestep_is_the_schedulers_own(assert_timesteps) -> None:
    assert_timesteps(PIXART_SIGMA, "pixart-sigma", lambda timestep: timestep)
