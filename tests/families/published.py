"""Published transformers: what follows from their configurations."""

from __future__ import annotations

from typing import Any, NamedTuple

from ditscope.models.published import PUBLISHED


class Real(NamedTuple):
    """A published transformer by its hub id, with what follows from it."""

    family: str
    hub_id: str
    blocks: dict[str, int]
    width: int
    vae_pixels: int = 8
    tokens: int = 64 * 64

    @property
    def config(self) -> dict[str, Any]:
        """What differs from the library's own defaults; where nothing does, these are what is tested."""
        return dict(PUBLISHED[self.hub_id].transformer)


FLUX, KLEIN, SANA = "black-forest-labs/FLUX", "FLUX.2 klein", "Efficient-Large-Model/"
SD3 = "stabilityai/stable-diffusion-3"
REAL = {
    "FLUX.1-dev": Real("FLUX.1", f"{FLUX}.1-dev", {"double": 19, "single": 38}, 3072),
    "FLUX.1-schnell": Real("FLUX.1", f"{FLUX}.1-schnell", {"double": 19, "single": 38}, 3072),
    "FLUX.1-Kontext-dev": Real("FLUX.1", f"{FLUX}.1-Kontext-dev", {"double": 19, "single": 38}, 3072),
    "FLUX.2-klein-4B": Real(KLEIN, f"{FLUX}.2-klein-4B", {"double": 5, "single": 20}, 3072),
    "FLUX.2-klein-base-4B": Real(KLEIN, f"{FLUX}.2-klein-base-4B", {"double": 5, "single": 20}, 3072),
    "FLUX.2-klein-9B": Real(KLEIN, f"{FLUX}.2-klein-9B", {"double": 8, "single": 24}, 4096),
    "FLUX.2-klein-base-9B": Real(KLEIN, f"{FLUX}.2-klein-base-9B", {"double": 8, "single": 24}, 4096),
    "FLUX.2-dev": Real("FLUX.2 dev", f"{FLUX}.2-dev", {"double": 8, "single": 48}, 6144),
    "Qwen-Image": Real("Qwen-Image", "Qwen/Qwen-Image", {"double": 60}, 3072),
    "SANA-1.6B": Real("SANA", f"{SANA}Sana_1600M_1024px_diffusers", {"cross": 20}, 2240, 32, 32 * 32),
    "SANA1.5-1.6B": Real("SANA", f"{SANA}SANA1.5_1.6B_1024px_diffusers", {"cross": 20}, 2240, 32, 32 * 32),
    "SANA1.5-4.8B": Real("SANA", f"{SANA}SANA1.5_4.8B_1024px_diffusers", {"cross": 60}, 2240, 32, 32 * 32),
    "SD3-medium": Real("SD3", f"{SD3}-medium-diffusers", {"joint": 24}, 1536),
    "SD3.5-medium": Real("SD3", f"{SD3}.5-medium", {"joint": 24}, 1536),
    "SD3.5-large": Real("SD3", f"{SD3}.5-large", {"joint": 38}, 2432),
    "PixArt-Sigma": Real("PixArt-Sigma", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", {"cross": 28}, 1152),
    "Chroma1-HD": Real("Chroma", "lodestones/Chroma1-HD", {"double": 19, "single": 38}, 3072),
    "CogView4-6B": Real("CogView4", "zai-org/CogView4-6B", {"double": 28}, 4096),
    "AuraFlow-v0.3": Real("AuraFlow", "fal/AuraFlow-v0.3", {"joint": 4, "single": 32}, 3072),
    "Lumina-Image-2.0": Real("Lumina2", "Alpha-VLLM/Lumina-Image-2.0", {"joint": 26}, 2304),
}
