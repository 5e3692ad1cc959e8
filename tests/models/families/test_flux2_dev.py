"""FLUX.2 dev against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

from ditscope.models.families.flux2_dev import FLUX2_DEV


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"double": (8, "Flux2TransformerBlock"), "single": (48, "Flux2SingleTransformerBlock")}
    transformer = assert_published(FLUX2_DEV, "FLUX.2-dev", blocks, width=6144)
    assert transformer.config.guidance_embeds


def test_one_visit_whatever_the_scale_which_is_embedded(assert_guidance, plain_run) -> None:
    assert_guidance(FLUX2_DEV, "flux2-dev", {"guidance_scale": 4.0}, ("cond",))
    assert FLUX2_DEV.guidance.embedded
    passed = [plain_run("flux2-dev", guidance_scale=scale).given[0]["guidance"] for scale in (1.0, 4.0)]
    assert [guidance.tolist() for guidance in passed] == [[1.0], [4.0]]


def test_streams_and_timestep_are_as_of_klein(assert_streams, assert_timesteps) -> None:
    assert_streams(FLUX2_DEV, "flux2-dev", image="x_embedder", text="context_embedder")
    assert_timesteps(FLUX2_DEV, "flux2-dev", lambda timestep: timestep / 1000)
