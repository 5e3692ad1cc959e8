"""FLUX.2 klein against diffusers' own class and plain runs of the tiny pipelines."""

from __future__ import annotations

import pytest

from ditscope.models.families.flux2 import FLUX2_KLEIN


@pytest.mark.parametrize(
    ("published", "n_double", "n_single", "width"),
    [("FLUX.2-klein-4B", 5, 20, 3072), ("FLUX.2-klein-9B", 8, 24, 4096)],
)
def test_what_it_names_is_in_the_published_transformer(
    assert_published, published, n_double, n_single, width
) -> None:
    blocks = {
        "double": (n_double, "Flux2TransformerBlock"),
        "single": (n_single, "Flux2SingleTransformerBlock"),
    }
    assert_published(FLUX2_KLEIN, published, blocks, width)


def test_single_blocks_carry_text_before_image_in_one_tensor(assert_streams) -> None:
    assert_streams(FLUX2_KLEIN, "flux2-klein", image="x_embedder", text="context_embedder")
    assert [each.joined for each in FLUX2_KLEIN.block_lists] == [False, True]


def test_blocks_of_a_list_are_passed_one_modulation_in_as_many_parts_as_are_named(plain_run) -> None:
    heard = plain_run("flux2-klein").heard
    for layout, sources, n_parts in zip(
        FLUX2_KLEIN.block_lists,
        (
            {"image": "double_stream_modulation_img", "text": "double_stream_modulation_txt"},
            dict.fromkeys(("image", "text"), "single_stream_modulation"),
        ),
        (6, 3),
        strict=True,
    ):
        for stream, source in sources.items():
            taps = [tap for tap in layout.taps[stream].values() if tap.part is not None]
            assert {tap.part for tap in taps} == set(range(n_parts))
            (argument,) = {tap.argument for tap in taps}
            passed = heard[f"{layout.path}.1"][1][argument]
            assert passed is heard[source][2]
            assert passed.shape[-1] == n_parts * 32


@pytest.mark.parametrize(
    ("name", "call", "branches"),
    [
        ("flux2-klein-base", {}, ("cond", "uncond")),  # the pipeline's own scale is 4
        ("flux2-klein-base", {"guidance_scale": 1.0}, ("cond",)),
        ("flux2-klein", {"guidance_scale": 4.0}, ("cond",)),
    ],
)
def test_the_scale_alone_makes_a_second_visit_unless_distilled(assert_guidance, name, call, branches) -> None:
    assert_guidance(FLUX2_KLEIN, name, call, branches)


def test_the_timestep_is_a_thousandth_of_the_schedulers(assert_timesteps) -> None:
    assert_timesteps(FLUX2_KLEIN, "flux2-klein", lambda timestep: timestep / 1000)
