"""Train the FLUX transformer and both text encoders by rectified-flow matching, coarse grid first.

The coarse stage draws the same scenes at half the resolution: a quarter of the tokens, at positions
that the fine grid shares, so that colours, places and outlines are learnt where they are cheap.
No mask, attribute label or classifier enters the loss: what the channels come to say about the
subject is the network's own doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from ditscope.models._internals import pack_latents
from ditscope.shapes import networks
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE = 1.5e-3
_EMPTY_CAPTIONS = 0.1


@dataclass(frozen=True)
class Stage:
    """One resolution of the curriculum.

    ``sigma_mean`` and ``sigma_spread`` shape the logit-normal density of noise levels (Esser et al. 2024, 3.1);
    a finer grid needs more noise to hide the same thing, hence a higher mean.
    """

    pixels: int
    batch: int
    scenes: int
    sigma_mean: float
    sigma_spread: float = 1.0

    @property
    def grid(self) -> int:
        """Image tokens along one edge."""
        return self.pixels // 4


COARSE = Stage(pixels=32, batch=64, scenes=40_000, sigma_mean=0.0)
FINE = Stage(pixels=64, batch=20, scenes=12_000, sigma_mean=0.5)


class Generator(nn.Module):
    """What is trained together: the transformer and the two text encoders of the pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = networks.transformer()
        self.t5 = networks.text_encoder_t5()
        self.clip_text = networks.text_encoder_clip()
        networks.initialise_transformer(self.transformer)

    def forward(self, latents, sigma, t5_ids, clip_ids, image_ids):
        """Velocity ``[sample, token, latent]`` at noise level ``sigma`` ``[sample]``."""
        text = self.t5(t5_ids)[0]
        pooled = self.clip_text(clip_ids).pooler_output
        return self.transformer(
            hidden_states=latents,
            timestep=sigma,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            txt_ids=torch.zeros(text.shape[1], 3, device=text.device),
            img_ids=image_ids,
            return_dict=False,
        )[0]


def train_generator(
    folder: Path,
    autoencoder: AutoencoderKL,
    *,
    coarse_steps: int,
    fine_steps: int,
    seed: int,
    device: str,
    compiled: bool = True,
) -> Generator:
    """Train, or resume, and return the averaged weights."""
    torch.manual_seed(seed)
    model = Generator().to(device)
    run = Run("generator", folder, model, _RATE, ema=0.9993)
    forward = torch.compile(model, dynamic=False) if compiled else model
    for stage, end in ((COARSE, coarse_steps), (FINE, coarse_steps + fine_steps)):
        if run.step < end:
            _train_stage(
                run, forward, stage, end, coarse_steps + fine_steps, folder, autoencoder, seed, device
            )
    run.use_average()
    return model.eval()


def _train_stage(run, forward, stage, end, total, folder, autoencoder, seed, device) -> None:
    data = latents(stage, folder, autoencoder, seed, device)
    t5_ids = networks.caption_ids(data.captions, start=False)
    clip_ids = networks.caption_ids(data.captions, start=True)
    empty_t5, empty_clip = (
        networks.caption_ids([""], start=False)[0],
        networks.caption_ids([""], start=True)[0],
    )
    image_ids = grid_ids(stage).to(device)
    trailing = 0.0
    for step in tqdm(range(run.step, end), desc=f"generator {stage.pixels}px", disable=None):
        random = step_generator(seed, step)
        rows = torch.randint(len(data.captions), (stage.batch,), generator=random)
        empty = torch.rand(stage.batch, generator=random) < _EMPTY_CAPTIONS
        t5_rows, clip_rows = t5_ids[rows], clip_ids[rows]
        t5_rows[empty], clip_rows[empty] = empty_t5, empty_clip
        clean = data.latents[rows].float()
        noise = torch.randn(clean.shape, generator=random)
        sigma = (stage.sigma_mean + stage.sigma_spread * torch.randn(stage.batch, generator=random)).sigmoid()
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        with torch.autocast(device, dtype=torch.bfloat16):
            velocity = forward(
                noisy.to(device), sigma.to(device), t5_rows.to(device), clip_rows.to(device), image_ids
            )
        loss = (velocity.float() - (noise - clean).to(device)).square().mean()
        set_rate(run.optimizer, _RATE * learning_rate(step, total, warm_up=400))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimizer.step()
        run.advance()
        trailing += loss.item()
        if run.step % 50 == 0:
            run.log(loss=trailing / 50, gradient_norm=float(norm), pixels=stage.pixels)
            trailing = 0.0
        if run.step % 250 == 0 or run.step == end:
            run.save()


def grid_ids(stage: Stage) -> torch.Tensor:
    """Rotary positions ``[token, 3]`` in units of the fine grid's tokens, centred on each coarse token."""
    stride = FINE.grid // stage.grid
    axis = torch.arange(stage.grid) * stride + (stride - 1) / 2
    ids = torch.zeros(stage.grid, stage.grid, 3)
    ids[..., 1], ids[..., 2] = axis[:, None], axis[None, :]
    return ids.reshape(-1, 3)


class _Latents:
    def __init__(self, latents: torch.Tensor, captions: list[str]) -> None:
        self.latents, self.captions = latents, captions


@torch.no_grad()
def latents(stage: Stage, folder: Path, autoencoder: AutoencoderKL, seed: int, device: str) -> _Latents:
    """Packed bfloat16 latents ``[scene, token, latent]`` of the stage's scenes, encoded once and kept."""
    path = folder / f"latents-{stage.pixels}.safetensors"
    scenes = SceneSet(stage.scenes, seed + 1, pixels=stage.pixels)
    if not path.exists():
        batches = []
        config = autoencoder.config
        for images in tqdm(scenes.images.split(128), desc=f"latents {stage.pixels}px", disable=None):
            encoded = autoencoder.encode(to_model(images).to(device)).latent_dist.mode()
            encoded = (encoded - config.shift_factor) * config.scaling_factor
            packed = pack_latents(encoded)
            batches.append(packed.to(torch.bfloat16).cpu())
        save_file({"latents": torch.cat(batches)}, path)
    return _Latents(load_file(path)["latents"], scenes.captions)
