"""SANA against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.sana import SANA


@pytest.mark.parametrize(
    ("published", "n_blocks"), [("SANA-1.6B", 20), ("SANA1.5-1.6B", 20), ("SANA1.5-4.8B", 60)]
)
def test_what_it_names_is_in_the_published_transformer(assert_published, published, n_blocks) -> None:
    assert_published(SANA, published, {"cross": (n_blocks, "SanaTransformerBlock")}, width=2240)


def test_blocks_carry_the_image_alone_in_tokens_of_one_latent_cell(assert_streams) -> None:
    assert_streams(SANA, "sana", image="patch_embed", text=None, grid=(32, 48))


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("uncond", "cond")),  # the pipeline's own scale is 4.5
        ({"guidance_scale": 1.0}, ("cond",)),
    ],
)
def test_the_scale_alone_doubles_the_batch(assert_guidance, call, branches) -> None:
    assert_guidance(SANA, "sana", call, branches)


def test_the_timestep_is_scaled_by_the_transformers_own_entry(assert_timesteps, plain_run) -> None:
    assert_timesteps(SANA, "sana", lambda timestep: timestep)
    transformer = plain_run("sana").pipeline.transformer
    before = transformer.config.timestep_scale
    transformer.register_to_config(timestep_scale=0.001)
    try:
        assert_timesteps(SANA, "sana", lambda timestep: timestep / 1000)
    finally:
        transformer.register_to_config(timestep_scale=before)
