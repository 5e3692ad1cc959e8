"""What is trained together for each embedded pipeline: its transformer and its text encoders."""

from __future__ import annotations

import math

import torch
from torch import nn

from ditscope.shapes import networks

GRID = networks.PIXELS // 4
"""Image tokens along one edge of a whole image."""


class FluxGenerator(nn.Module):
    """FLUX.1's transformer, and its two text encoders."""

    name, rate = "generator", 1.5e-3

    def __init__(self) -> None:
        super().__init__()
        self.transformer = networks.transformer()
        self.t5 = networks.text_encoder_t5()
        self.clip_text = networks.text_encoder_clip()
        networks.initialise_transformer(self.transformer)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks."""
        return [*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks]

    @staticmethod
    def tokens(latents: torch.Tensor) -> torch.Tensor:
        """Latents ``[sample, channel, y, x]`` as the transformer takes them: ``[sample, token, channel]``."""
        patches = nn.functional.pixel_unshuffle(latents, 2)
        return patches.flatten(2).transpose(1, 2)

    @staticmethod
    def text(captions: list[str]) -> tuple[torch.Tensor, ...]:
        """What the text encoders take, each ``[caption, token]``."""
        return tuple(networks.caption_ids(captions, start=start) for start in (False, True))

    def forward(self, latents, sigma, t5_ids, clip_ids):
        """Velocity ``[sample, token, latent]`` at noise level ``sigma`` ``[sample]``."""
        text = self.t5(t5_ids)[0]
        return self.transformer(
            hidden_states=latents,
            timestep=sigma,
            encoder_hidden_states=text,
            pooled_projections=self.clip_text(clip_ids).pooler_output,
            txt_ids=torch.zeros(text.shape[1], 3, device=text.device),
            img_ids=grid_ids(math.isqrt(latents.shape[1]), text.device),
            return_dict=False,
        )[0]


class SanaGenerator(nn.Module):
    """SANA's transformer and its text encoder."""

    name, rate = "sana", 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.transformer = networks.sana_transformer()
        self.gemma = networks.text_encoder_gemma()
        networks.initialise_sana(self.transformer)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks."""
        return list(self.transformer.transformer_blocks)

    @staticmethod
    def tokens(latents: torch.Tensor) -> torch.Tensor:
        """Latents as the transformer takes them: as they are."""
        return latents

    @staticmethod
    def text(captions: list[str]) -> tuple[torch.Tensor, ...]:
        """Ids and mask, each ``[caption, token]``."""
        encoded = networks.encoded_captions(captions, start=True)
        return encoded.input_ids, encoded.attention_mask

    def forward(self, latents, sigma, ids, mask):
        """Velocity ``[sample, channel, y, x]`` at noise level ``sigma`` ``[sample]``."""
        return self.transformer(
            latents,
            encoder_hidden_states=self.gemma(ids, attention_mask=mask)[0],
            encoder_attention_mask=mask,
            timestep=sigma * 1000.0,
            return_dict=False,
        )[0]


Generator = FluxGenerator | SanaGenerator


def grid_ids(edge: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """FLUX.1's positions ``[token, 3]`` in units of the fine grid's tokens, centred on each token of a coarse one."""
    stride = GRID // edge
    axis = torch.arange(edge, device=device) * stride + (stride - 1) / 2
    ids = torch.zeros(edge, edge, 3, device=device)
    ids[..., 1], ids[..., 2] = axis[:, None], axis[None, :]
    return ids.reshape(-1, 3)
