"""Putting the trained parts together as a diffusers pipeline folder."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers import AutoencoderKL, FluxPipeline
from safetensors.torch import save_file
from transformers import CLIPModel

from ditscope.models.pipeline_call import SETTINGS_FILE
from ditscope.shapes import networks
from ditscope.shapes.oracle import Oracle
from ditscope.shapes.scenes import PIXELS
from ditscope.shapes.training.transformer import Generator

GUIDANCE_SCALE = 2.5
"""True classifier-free guidance scale that the embedded pipeline is called with by default."""

CALL = {
    "height": PIXELS,
    "width": PIXELS,
    "max_sequence_length": networks.MAX_WORDS,
    "negative_prompt": "",
    "true_cfg_scale": GUIDANCE_SCALE,
    "num_inference_steps": 20,
}
"""Call arguments that suit the pipeline."""


def assemble(generator: Generator, autoencoder: AutoencoderKL) -> FluxPipeline:
    """The pipeline of the trained parts."""
    return FluxPipeline(
        scheduler=networks.scheduler(),
        vae=autoencoder,
        text_encoder=generator.clip_text,
        tokenizer=networks.tokenizer(start=True),
        text_encoder_2=generator.t5,
        tokenizer_2=networks.tokenizer(start=False),
        transformer=generator.transformer,
    )


def save_pipeline(pipeline: FluxPipeline, folder: Path, call: dict[str, object] | None = None) -> None:
    """Save as safetensors, with the call arguments that suit it."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / SETTINGS_FILE).write_text(json.dumps({"call": call or CALL}, indent=2) + "\n")


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
