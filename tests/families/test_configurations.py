"""Real configurations on the meta device: every address, width, head and size without weights."""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import diffusers
import pytest
import tiny
import torch

import random_models
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.configuration import configuration_of, latent_cell_pixels, read_configuration
from ditscope.models.families import known_families
from ditscope.models.pipeline_call import signature_defaults
from ditscope.models.sizes import BINNING
from ditscope.recording.forecast import forecast_recording


class Real(NamedTuple):
    """A published transformer, with what follows from it.

    ``config`` is what differs from the library's own defaults; ``heads`` are number and width.
    """

    family: str
    config: dict[str, Any]
    blocks: dict[str, int]
    width: int
    heads: tuple[int, int]
    vae_pixels: int = 8
    tokens: int = 64 * 64


# Of a transformer that the library's defaults describe, the defaults are what is tested.
KLEIN_4B = Real(
    "FLUX.2 klein",
    {
        "num_layers": 5,
        "num_single_layers": 20,
        "num_attention_heads": 24,
        "joint_attention_dim": 7680,
        "guidance_embeds": False,
    },
    {"double": 5, "single": 20},
    3072,
    (24, 128),
)
KLEIN_9B = Real(
    "FLUX.2 klein",
    {
        "num_layers": 8,
        "num_single_layers": 24,
        "num_attention_heads": 32,
        "joint_attention_dim": 12288,
        "guidance_embeds": False,
    },
    {"double": 8, "single": 24},
    4096,
    (32, 128),
)
SANA = Real("SANA", {}, {"cross": 20}, 2240, (70, 32), vae_pixels=32, tokens=32 * 32)
SANA_1_5 = {"qk_norm": "rms_norm_across_heads"}
SD3_2B = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
REAL = {
    "FLUX.1-dev": Real("FLUX.1", {"guidance_embeds": True}, {"double": 19, "single": 38}, 3072, (24, 128)),
    "FLUX.1-schnell": Real("FLUX.1", {}, {"double": 19, "single": 38}, 3072, (24, 128)),
    # The base checkpoints have the distilled ones' transformers; only `is_distilled` differs.
    "FLUX.2-klein-4B": KLEIN_4B,
    "FLUX.2-klein-base-4B": KLEIN_4B,
    "FLUX.2-klein-9B": KLEIN_9B,
    "FLUX.2-klein-base-9B": KLEIN_9B,
    "FLUX.2-dev": Real("FLUX.2 dev", {}, {"double": 8, "single": 48}, 6144, (48, 128)),
    "Qwen-Image": Real("Qwen-Image", {}, {"double": 60}, 3072, (24, 128)),
    "SANA-1.6B": SANA,
    "SANA1.5-1.6B": SANA._replace(config=SANA_1_5),
    "SANA1.5-4.8B": SANA._replace(config={**SANA_1_5, "num_layers": 60}, blocks={"cross": 60}),
    "SD3-medium": Real("SD3", SD3_2B, {"joint": 24}, 1536, (24, 64)),
    "SD3.5-medium": Real(
        "SD3",
        {
            **SD3_2B,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        },
        {"joint": 24},
        1536,
        (24, 64),
    ),
    "SD3.5-large": Real(
        "SD3",
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
        {"joint": 38},
        2432,
        (38, 64),
    ),
    "PixArt-Sigma": Real(
        "PixArt-Sigma",
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
        {"cross": 28},
        1152,
        (16, 72),
    ),
    "Chroma1-HD": Real("Chroma", {}, {"double": 19, "single": 38}, 3072, (24, 128)),
    "CogView4-6B": Real(
        "CogView4",
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128},
        {"double": 28},
        4096,
        (32, 128),
    ),
    "AuraFlow-v0.3": Real(
        "AuraFlow", {"pos_embed_max_size": 9216}, {"joint": 4, "single": 32}, 3072, (12, 256)
    ),
    "Lumina-Image-2.0": Real("Lumina2", {}, {"joint": 26}, 2304, (24, 96)),
}


def family_named(name: str) -> Any:
    return next(family for family in known_families() if family.name == name)


@functools.cache
def drawn(name: str, **given: Any) -> Any:
    """The configuration of a published model, with what its pipeline's own configuration says besides."""
    real = REAL[name]
    return configuration_of(
        family_named(real.family), real.config, vae_pixels=real.vae_pixels, name=name, full_call=given
    )


@pytest.mark.parametrize("name", REAL)
def test_addresses_of_a_real_configuration(name) -> None:
    real, configuration = REAL[name], drawn(name)
    expected = [f"{kind}.{place}" for kind, count in real.blocks.items() for place in range(count)]
    assert [block.name for block in configuration.blocks] == expected
    assert [block.index for block in configuration.blocks] == list(range(len(expected)))
    assert configuration.width == real.width
    assert (configuration.heads, configuration.head_width) == real.heads
    rows, columns = configuration.grid(1024, 1024)
    assert rows * columns == real.tokens
    assert configuration.image_size(1024, 1024) == (1024, 1024)


@pytest.mark.parametrize("name", random_models.MODELS)
def test_the_benchmarks_model_has_the_same_configuration(name) -> None:
    """Entry by entry, the library's defaults filled in: block counts, heads, widths and all else."""
    real, model = REAL[name], random_models.MODELS[name]
    family = family_named(real.family)
    assert model.pipeline in family.pipelines
    parameters = inspect.signature(getattr(diffusers, family.transformer_class).__init__).parameters
    defaults = {entry: parameter.default for entry, parameter in parameters.items() if entry != "self"}
    assert {**defaults, **model.config()} == {**defaults, **real.config}


@pytest.mark.parametrize("name", REAL)
def test_a_real_recording_is_as_large_as_its_numbers_say(name) -> None:
    """Hidden states in bfloat16; statistics are five float32 or int32 a channel."""
    real = REAL[name]
    full = forecast_recording(drawn(name), 1024, 1024, 28, guided=False)
    cells = 28 * sum(real.blocks.values()) * real.width
    assert full.tensors == pytest.approx(cells * real.tokens * 2, rel=0.01)
    # Files of statistics are written whole: at 28 steps in files of five, two steps are padding.
    assert cells * 5 * 4 <= full.stats < 1.08 * cells * 5 * 4


def test_a_base_checkpoint_is_guided_and_a_distilled_one_is_not() -> None:
    assert drawn("FLUX.2-klein-base-4B", is_distilled=False).branches() == ("cond", "uncond")
    distilled = drawn("FLUX.2-klein-4B", is_distilled=True)
    assert distilled.branches() == distilled.branches(guided=True) == ("cond",)


def test_sd3s_last_block_alone_returns_no_text() -> None:
    blocks = drawn("SD3.5-large").blocks
    assert [block.index for block in blocks if "text" not in block.layout.streams("block_output")] == [37]
    assert all("text" in block.layout.streams("block_input") for block in blocks)


@pytest.mark.parametrize("name", ["SANA1.5-4.8B", "PixArt-Sigma"])
def test_a_real_size_is_that_of_the_pipelines_table(name) -> None:
    """Both tables have 1024 x 1024 and, for a ratio of about 1:2, 704 x 1408."""
    configuration, edge = drawn(name), 32 if name.startswith("SANA") else 16
    assert configuration.grid(1000, 1010) == (1024 // edge, 1024 // edge)
    assert configuration.image_size(1000, 1010) == (1000, 1010)
    assert configuration.grid(500, 1000) == (704 // edge, 1408 // edge)
    assert configuration.grid(512, 1024, binned=False) == (512 // edge, 1024 // edge)
    with pytest.raises(InputError, match=f"multiples of {edge}"):
        configuration.grid(1000, 1010, binned=False)


def test_positions_of_a_square_are_counted_along_its_edge() -> None:
    assert drawn("AuraFlow-v0.3").grid(1536, 1536) == (96, 96)
    with pytest.raises(InputError, match="at most 1536 pixels"):
        drawn("AuraFlow-v0.3").grid(1552, 1024)


def test_every_pipeline_that_bins_has_its_cells() -> None:
    for family in known_families():
        for pipeline in family.pipelines:
            bins = BINNING in signature_defaults(getattr(diffusers, pipeline))
            assert bins == (family.nominal_cell is not None), pipeline
    with pytest.raises(UnsupportedError, match="FluxPipeline"):
        drawn("FLUX.1-dev").grid(1024, 1024, binned=True)


# The library's own defaults, and the published four levels of FLUX.1's, SD3's and PixArt's AutoencoderKL.
AUTOENCODERS = {
    "AutoencoderKL": (
        {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        },
        8,
    ),
    "AutoencoderKLFlux2": ({}, 8),
    "AutoencoderKLQwenImage": ({}, 8),
    "AutoencoderDC": ({}, 32),
}


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_a_latent_cell_is_as_large_as_the_autoencoder_makes_it(name) -> None:
    config, pixels = AUTOENCODERS[name]
    with torch.device("meta"):
        autoencoder = getattr(diffusers, name).from_config(config)
        frames = (1,) if name == "AutoencoderKLQwenImage" else ()
        latents = autoencoder.encoder(torch.empty(1, 3, *frames, 128, 128))
    assert latent_cell_pixels(autoencoder.config) == pixels == 128 // latents.shape[-1]


@pytest.mark.parametrize("name", tiny.TINY)
def test_the_configuration_is_that_of_the_opened_pipeline(opened, folder_of, name) -> None:
    dit, configuration = opened(name), read_configuration(str(folder_of(name)))
    assert [(b.index, b.name, b.kind) for b in configuration.blocks] == [
        (b.index, b.name, b.kind) for b in dit.blocks
    ]
    assert [b.layout for b in configuration.blocks] == [b.layout for b in dit.blocks]
    assert configuration.width == dit.width
    assert configuration.vae_pixels == dit.diffusers_pipeline.vae_scale_factor
    assert configuration.sizes.token_pixels == dit.token_pixels


def test_an_autoencoder_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="AutoencoderOobleck with entries"):
        latent_cell_pixels({"_class_name": "AutoencoderOobleck", "channel_multiples": [1, 2]})


def test_a_folders_own_call_arguments_count() -> None:
    # shapes is guided by default, so a recording of it holds both branches.
    assert read_configuration("shapes").branches() == ("cond", "uncond")
