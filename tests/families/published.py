"""Published transformers: their configurations, and what follows from them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Real(NamedTuple):
    """A published transformer, with what follows from it.

    ``config`` is what differs from the library's own defaults.
    """

    family: str
    config: dict[str, Any]
    blocks: dict[str, int]
    width: int
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
)
SANA = Real("SANA", {}, {"cross": 20}, 2240, vae_pixels=32, tokens=32 * 32)
SANA_1_5 = {"qk_norm": "rms_norm_across_heads"}
SD3_2B = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
REAL = {
    "FLUX.1-dev": Real("FLUX.1", {"guidance_embeds": True}, {"double": 19, "single": 38}, 3072),
    "FLUX.1-schnell": Real("FLUX.1", {}, {"double": 19, "single": 38}, 3072),
    # The base checkpoints have the distilled ones' transformers; only `is_distilled` differs.
    "FLUX.2-klein-4B": KLEIN_4B,
    "FLUX.2-klein-base-4B": KLEIN_4B,
    "FLUX.2-klein-9B": KLEIN_9B,
    "FLUX.2-klein-base-9B": KLEIN_9B,
    "FLUX.2-dev": Real("FLUX.2 dev", {}, {"double": 8, "single": 48}, 6144),
    "Qwen-Image": Real("Qwen-Image", {}, {"double": 60}, 3072),
    "SANA-1.6B": SANA,
    "SANA1.5-1.6B": SANA._replace(config=SANA_1_5),
    "SANA1.5-4.8B": SANA._replace(config={**SANA_1_5, "num_layers": 60}, blocks={"cross": 60}),
    "SD3-medium": Real("SD3", SD3_2B, {"joint": 24}, 1536),
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
    ),
    "PixArt-Sigma": Real(
        "PixArt-Sigma",
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
        {"cross": 28},
        1152,
    ),
    "Chroma1-HD": Real("Chroma", {}, {"double": 19, "single": 38}, 3072),
    "CogView4-6B": Real(
        "CogView4",
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128},
        {"double": 28},
        4096,
    ),
    "AuraFlow-v0.3": Real("AuraFlow", {"pos_embed_max_size": 9216}, {"joint": 4, "single": 32}, 3072),
    "Lumina-Image-2.0": Real("Lumina2", {}, {"joint": 26}, 2304),
}
