"""Real configurations on the meta device, and forecasts that need no weights."""

from __future__ import annotations

import shutil

import pytest
import torch
from test_families import NAMES, PROMPTS, SEEDS, branches, guided, size
from typer.testing import CliRunner

import ditscope as ds
from ditscope.cache.outlook import outlook
from ditscope.cli import app
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.families import FAMILIES
from ditscope.models.outline import outline, outline_of

# Published configurations: what differs from the libraries' own defaults.
SD3_JOINT = {
    "caption_projection_dim": 1536,
    "num_attention_heads": 24,
    "num_layers": 24,
    "pos_embed_max_size": 192,
}
REAL = {
    "FLUX.1-dev": ("FLUX.1", {"guidance_embeds": True}, 8, {"double": 19, "single": 38}, 3072),
    "FLUX.1-schnell": ("FLUX.1", {}, 8, {"double": 19, "single": 38}, 3072),
    "FLUX.2-klein-4B": (
        "FLUX.2 klein",
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680},
        8,
        {"double": 5, "single": 20},
        3072,
    ),
    "FLUX.2-klein-9B": (
        "FLUX.2 klein",
        {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288},
        8,
        {"double": 8, "single": 24},
        4096,
    ),
    "FLUX.2-dev": ("FLUX.2 dev", {}, 8, {"double": 8, "single": 48}, 6144),
    "Qwen-Image": ("Qwen-Image", {}, 8, {"double": 60}, 3072),
    "SANA-1.6B": ("SANA", {}, 32, {"cross": 20}, 2240),
    "SANA1.5-4.8B": ("SANA", {"num_layers": 60, "qk_norm": "rms_norm_across_heads"}, 32, {"cross": 60}, 2240),
    "SD3-medium": ("SD3", SD3_JOINT, 8, {"joint": 24}, 1536),
    "SD3.5-medium": (
        "SD3",
        {
            **SD3_JOINT,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        },
        8,
        {"joint": 24},
        1536,
    ),
    "SD3.5-large": (
        "SD3",
        {
            "caption_projection_dim": 2432,
            "num_attention_heads": 38,
            "num_layers": 38,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
        8,
        {"joint": 38},
        2432,
    ),
    "Chroma1-HD": ("Chroma", {}, 8, {"double": 19, "single": 38}, 3072),
    "CogView4-6B": (
        "CogView4",
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128},
        8,
        {"double": 28},
        4096,
    ),
    "AuraFlow-v0.3": ("AuraFlow", {"pos_embed_max_size": 9216}, 8, {"joint": 4, "single": 32}, 3072),
    "Lumina-Image-2.0": ("Lumina2", {}, 8, {"joint": 26}, 2304),
    "PixArt-Sigma": ("PixArt-Sigma", {"caption_channels": 4096, "sample_size": 128}, 8, {"cross": 28}, 1152),
}


@pytest.mark.parametrize("name", REAL)
def test_addresses_of_a_real_configuration(name) -> None:
    family_name, config, vae_pixels, counts, width = REAL[name]
    family = next(family for family in FAMILIES if family.name == family_name)
    found = outline_of(family, config, vae_pixels=vae_pixels, name=name)
    expected = [f"{kind}.{position}" for kind, count in counts.items() for position in range(count)]
    assert [block for block, _ in found.blocks] == expected
    assert found.width == width
    tokens = 32 * 32 if family_name == "SANA" else 64 * 64
    height, columns = found.grid(1024, 1024)
    assert height * columns == tokens
    full = outlook(found, 1024, 1024, 28, guided=False).full
    assert full.tensors == pytest.approx(28 * len(expected) * tokens * width * 2, rel=0.01)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_from_the_configuration_is_that_of_the_run(
    opened, folder_of, tmp_path, name, dtype
) -> None:
    dit = opened(name, getattr(torch, dtype))
    call = {**size(name), **guided(name)}
    with ds.record(dit, tmp_path / "a.zarr") as rec:
        promised = rec.forecast(PROMPTS[0], SEEDS, num_inference_steps=3, **call).size
    found = outlook(
        outline(str(folder_of(name))),
        call["height"],
        call["width"],
        3,
        guided=len(branches(name)) > 1,
        dtype=dtype,
    )
    assert set(found.branches) == set(branches(name))
    assert found.full == promised
    with ds.record(dit, tmp_path / "b.zarr", tensors=False) as rec:
        assert rec.forecast(PROMPTS[0], SEEDS, num_inference_steps=3, **call).size == found.statistics


def test_the_command_needs_no_weights(folder_of, tmp_path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder_of("sd3"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    result = CliRunner().invoke(
        app, ["forecast", str(bare), "--height", "16", "--width", "24", "--steps", "2"]
    )
    assert result.exit_code == 0, result.output
    for fact in (
        "SD3",
        "3 blocks of 32 channels",
        "4 x 6 image tokens",
        "2 steps",
        "uncond",
        "statistics only",
    ):
        assert fact in result.output


def test_what_cannot_be_forecast_is_refused(folder_of) -> None:
    with pytest.raises(InputError, match="at least 4 pixels"):
        outlook(outline(str(folder_of("flux"))), 2, 24, 3)
    with pytest.raises(UnsupportedError, match="SANA"):
        outlook(outline(str(folder_of("sana"))), 32, 32, 3, text_tokens=12)
    assert outlook(outline(str(folder_of("flux"))), 16, 24, 3, text_tokens=12).full.masks > 0


def test_a_folders_own_call_arguments_count() -> None:
    # shapes is guided by default, so a recording of it holds both branches.
    assert outline("shapes").branches() == ("cond", "uncond")
