"""Chroma against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest

from ditscope.models.families.chroma import CHROMA


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"double": (19, "ChromaTransformerBlock"), "single": (38, "ChromaSingleTransformerBlock")}
    assert_published(CHROMA, "Chroma1-HD", blocks, width=3072)


def test_single_blocks_carry_text_before_image_in_one_tensor(assert_streams) -> None:
    assert_streams(CHROMA, "chroma", image="x_embedder", text="context_embedder")
    assert [each.joined for each in CHROMA.block_lists] == [False, True]


def test_all_modulation_comes_as_an_argument_in_as_many_parts_as_are_named(plain_run) -> None:
    heard = plain_run("chroma").heard
    for layout, n_parts in zip(CHROMA.block_lists, (12, 3), strict=True):
        taps = [tap for stream in layout.taps.values() for tap in stream.values() if tap.part is not None]
        assert {tap.argument for tap in taps} == {"temb"}
        assert {tap.part for tap in taps} == set(range(n_parts))
        assert heard[f"{layout.path}.0"][1]["temb"].shape[1] == n_parts


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("cond", "uncond")),  # the pipeline's own scale is 5
        ({"guidance_scale": 3.0, "negative_prompt": "plain"}, ("cond", "uncond")),
        ({"guidance_scale": 1.0, "negative_prompt": "plain"}, ("cond",)),
    ],
)
def test_the_scale_alone_makes_a_second_visit(assert_guidance, call, branches) -> None:
    assert_guidance(CHROMA, "chroma", call, branches)


def test_the_timestep_is_a_thousandth_of_the_schedulers(assert_timesteps) -> None:
    assert_timesteps(CHROMA, "chroma", lambda timestep: timestep / 1000)
