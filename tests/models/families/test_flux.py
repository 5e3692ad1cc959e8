"""FLUX.1 against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.flux import FLUX

NEGATIVE = {"negative_prompt": "plain"}


@pytest.mark.parametrize("published", ["FLUX.1-dev", "FLUX.1-schnell"])
def test_what_it_names_is_in_the_published_transformer(assert_published, published) -> None:
    blocks = {"double": (19, "FluxTransformerBlock"), "single": (38, "FluxSingleTransformerBlock")}
    assert_published(FLUX, published, blocks, width=3072)


def test_single_blocks_take_and_return_the_streams_apart(assert_streams) -> None:
    assert_streams(FLUX, "flux", image="x_embedder", text="context_embedder")
    assert [each.joined for each in FLUX.block_lists] == [False, False]


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("cond",)),
        ({"guidance_scale": 5.0, **NEGATIVE}, ("cond",)),
        ({"true_cfg_scale": 2.0}, ("cond",)),
        ({"true_cfg_scale": 2.0, **NEGATIVE}, ("cond", "uncond")),
        ({"true_cfg_scale": 1.0, **NEGATIVE}, ("cond",)),
    ],
)
@pytest.mark.parametrize("name", ["flux", "flux-embedded"])
def test_a_true_scale_with_a_negative_prompt_makes_a_second_visit(
    assert_guidance, name, call, branches
) -> None:
    assert_guidance(FLUX, name, call, branches)


def test_an_embedded_scale_is_passed_along(plain_run) -> None:
    assert FLUX.guidance.embedded
    assert plain_run("flux-embedded", guidance_scale=5.0).given[0]["guidance"].tolist() == [5.0]


def test_the_timestep_is_a_thousandth_of_the_schedulers(assert_timesteps) -> None:
    assert_timesteps(FLUX, "flux", lambda timestep: timestep / 1000)
