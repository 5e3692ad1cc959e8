"""Lumina Image 2.0 against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.lumina2 import LUMINA2


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"joint": (26, "Lumina2TransformerBlock")}
    assert_published(LUMINA2, "Lumina-Image-2.0", blocks, width=2304)


def test_blocks_carry_text_before_image_without_padding_after_their_refiners(
    assert_streams, plain_run
) -> None:
    assert_streams(LUMINA2, "lumina2", image="noise_refiner.0", text="context_refiner.0")
    run = plain_run("lumina2")
    n_text = int(run.given[0]["encoder_attention_mask"].sum())
    assert n_text < run.given[0]["encoder_hidden_states"].shape[1]
    assert run.heard["layers.0"][0][0].shape[1] == n_text + 4 * 6
    assert (LUMINA2.text_padding_kept, LUMINA2.text_length_varies) == (False, True)


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("cond", "uncond")),  # the pipeline's own scale is 4
        ({"guidance_scale": 1.0, "negative_prompt": "plain"}, ("cond",)),
    ],
)
def test_the_scale_alone_makes_a_second_visit(assert_guidance, call, branches) -> None:
    assert_guidance(LUMINA2, "lumina2", call, branches)


def test_the_timestep_counts_from_noise_to_image(assert_timesteps) -> None:
    assert_timesteps(LUMINA2, "lumina2", lambda timestep: 1 - timestep / 1000)
