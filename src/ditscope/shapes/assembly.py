"""Putting the trained parts together as a diffusers pipeline folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderDC, AutoencoderKL, DiffusionPipeline, FluxPipeline, SanaPipeline
from safetensors.torch import save_file
from transformers import CLIPModel

from ditscope.models.pipeline_call import SETTINGS_FILE
from ditscope.shapes import networks
from ditscope.shapes.oracle import Oracle
from ditscope.shapes.scenes import PIXELS
from ditscope.shapes.training.generators import FluxGenerator, SanaGenerator

GUIDANCE_SCALE = 2.5
"""Scale of classifier-free guidance, until a better one is found."""

_CALL = {
    "height": PIXELS,
    "width": PIXELS,
    "max_sequence_length": networks.MAX_WORDS,
    "negative_prompt": "",
    "num_inference_steps": 20,
}

CALL = {**_CALL, "true_cfg_scale": GUIDANCE_SCALE}
"""Call arguments that suit the FLUX.1 pipeline."""

SANA_CALL = {
    **_CALL,
    "guidance_scale": GUIDANCE_SCALE,
    "use_resolution_binning": False,
    "complex_human_instruction": [],
}
"""Call arguments that suit the SANA pipeline: prompts and sizes as they are."""


def assemble(generator: FluxGenerator, autoencoder: AutoencoderKL) -> FluxPipeline:
    """The FLUX.1 pipeline of the trained parts."""
    return FluxPipeline(
        scheduler=networks.scheduler(),
        vae=autoencoder,
        text_encoder=generator.clip_text,
        tokenizer=networks.tokenizer(start=True),
        text_encoder_2=generator.t5,
        tokenizer_2=networks.tokenizer(start=False),
        transformer=generator.transformer,
    )


def assemble_sana(generator: SanaGenerator, autoencoder: AutoencoderDC) -> SanaPipeline:
    """The SANA pipeline of the trained parts."""
    return SanaPipeline(
        scheduler=networks.sana_scheduler(),
        vae=autoencoder,
        text_encoder=generator.gemma,
        tokenizer=networks.tokenizer(start=True),
        transformer=generator.transformer,
    )


def save_pipeline(pipeline: DiffusionPipeline, folder: Path, call: Mapping[str, object] = CALL) -> None:
    """Save as safetensors, with the call arguments that suit it."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.float().cpu()
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / SETTINGS_FILE).write_text(json.dumps({"call": dict(call)}, indent=2) + "\n")


def save_clip(model: CLIPModel, folder: Path) -> None:
    """Save the scorer with its tokenizer and its image preprocessing."""
    model.save_pretrained(folder, safe_serialization=True)
    networks.tokenizer(start=True).save_pretrained(folder)
    preprocessing = {"size": PIXELS, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n")


def save_oracle(model: Oracle, folder: Path) -> None:
    """Save the oracle's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "oracle.safetensors")
