"""Published checkpoints: what their configurations say that a forecast needs, so that it asks no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """What is published of a checkpoint.

    Attributes:
        transformer: entries of the transformer's configuration that differ from the library's defaults.
        vae_pixels: image pixels along one edge of a latent cell.
        pipeline: class of the pipeline; None for the family's first.
        index: entries of the pipeline's own configuration.
    """

    transformer: Mapping[str, Any] = field(default_factory=dict)
    vae_pixels: int = 8
    pipeline: str | None = None
    index: Mapping[str, Any] = field(default_factory=dict)


_FLUX_DEV = {"guidance_embeds": True}
_KLEIN_4B = {
    "num_layers": 5,
    "num_single_layers": 20,
    "num_attention_heads": 24,
    "joint_attention_dim": 7680,
    "guidance_embeds": False,
}
_KLEIN_9B = {
    "num_layers": 8,
    "num_single_layers": 24,
    "num_attention_heads": 32,
    "joint_attention_dim": 12288,
    "guidance_embeds": False,
}
_SANA_1_5 = {"qk_norm": "rms_norm_across_heads"}
_SD3_2B = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}

PUBLISHED: Mapping[str, Published] = {
    "black-forest-labs/FLUX.1-dev": Published(_FLUX_DEV),
    "black-forest-labs/FLUX.1-schnell": Published(),
    "black-forest-labs/FLUX.1-Kontext-dev": Published(_FLUX_DEV, pipeline="FluxKontextPipeline"),
    # The base checkpoints have the distilled ones' transformers.
    "black-forest-labs/FLUX.2-klein-4B": Published(_KLEIN_4B, index={"is_distilled": True}),
    "black-forest-labs/FLUX.2-klein-base-4B": Published(_KLEIN_4B, index={"is_distilled": False}),
    "black-forest-labs/FLUX.2-klein-9B": Published(_KLEIN_9B, index={"is_distilled": True}),
    "black-forest-labs/FLUX.2-klein-base-9B": Published(_KLEIN_9B, index={"is_distilled": False}),
    "black-forest-labs/FLUX.2-dev": Published(),
    "Qwen/Qwen-Image": Published(),
    "Efficient-Large-Model/Sana_1600M_1024px_diffusers": Published(vae_pixels=32),
    "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers": Published(_SANA_1_5, 32),
    "Efficient-Large-Model/SANA1.5_4.8B_1024px_diffusers": Published({**_SANA_1_5, "num_layers": 60}, 32),
    "stabilityai/stable-diffusion-3-medium-diffusers": Published(_SD3_2B),
    "stabilityai/stable-diffusion-3.5-medium": Published(
        {
            **_SD3_2B,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        }
    ),
    "stabilityai/stable-diffusion-3.5-large": Published(
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        }
    ),
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": Published(
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False}
    ),
    "lodestones/Chroma1-HD": Published(),
    "zai-org/CogView4-6B": Published(
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128}
    ),
    "fal/AuraFlow-v0.3": Published({"pos_embed_max_size": 9216}),
    "Alpha-VLLM/Lumina-Image-2.0": Published(),
}
"""By hub id."""
