"""Real configurations on the meta device: every address, width and size without weights."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import diffusers
import pytest
import tiny
import torch
from published import REAL

import random_models
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.configuration import configuration_of, latent_cell_pixels, read_configuration
from ditscope.models.families import known_families
from ditscope.models.pipeline_call import signature_defaults
from ditscope.models.sizes import BINNING
from ditscope.recording.forecast import forecast_recording


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
    """Hidden states in bfloat16; statistics are seven float32 a channel."""
    real = REAL[name]
    full = forecast_recording(drawn(name), 1024, 1024, 28, guided=False)
    cells = 28 * sum(real.blocks.values()) * real.width
    assert full.tensors == pytest.approx(cells * real.tokens * 2, rel=0.01)
    assert full.stats == pytest.approx(cells * 7 * 4, rel=0.001)


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
        for pipeline in filter(
            functools.partial(hasattr, diffusers), family.pipelines
        ):  # the lowest version lacks some
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
