"""Train a transformer and its text encoders by rectified-flow matching.

A coarse stage may come first. It draws the same scenes at half the resolution: a quarter of the tokens, at positions
that the fine grid shares, so that colours, places and outlines are learnt where they are cheap.
No mask, attribute label or classifier enters the loss: what the channels come to say about the
subject is the network's own doing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderDC, AutoencoderKL
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from ditscope.shapes.training.autoencoder import scaled_latents
from ditscope.shapes.training.data import SceneSet, step_generator
from ditscope.shapes.training.generators import Generator
from ditscope.shapes.training.state import Run, learning_rate, set_rate

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


COARSE = Stage(pixels=32, batch=512, scenes=60_000, sigma_mean=0.0)
FINE = Stage(pixels=64, batch=256, scenes=100_000, sigma_mean=0.5)


def train_generator(
    folder: Path,
    model: Generator,
    autoencoder: AutoencoderKL | AutoencoderDC,
    *,
    steps: int,
    coarse_share: float,
    seed: int,
    device: str,
    seconds: float = math.inf,
    compiled: bool = True,
    workers: int = 1,
) -> Generator:
    """Train, or resume, and return the averaged weights.

    Args:
        folder: of the state.
        model: what is trained.
        autoencoder: makes the latents.
        steps: at most.
        coarse_share: share of the training that the coarse stage has.
        seed: of weights, scenes and noise.
        device: to train on.
        seconds: by the clock, at most, however many steps they are enough for.
        compiled: compile each kind of block in the fine stage.
        workers: processes that draw scenes.
    """
    # cuDNN's attention fails in the backward pass of such small heads (torch 2.11 on an H200).
    torch.backends.cuda.enable_cudnn_sdp(False)
    model = model.to(device)
    run = Run(model.name, folder, model, model.rate, ema=0.9993, steps=steps, seconds=seconds)
    for stage, end in ((COARSE, coarse_share), (FINE, 1.0)):
        if run.share < end:
            batches = _Batches(stage, folder, model, autoencoder, seed, device, workers)
            _train_stage(run, model, stage, end, batches, compiled)
    return run.finished()


def _train_stage(
    run: Run, model: Generator, stage: Stage, end: float, batches: _Batches, compiled: bool
) -> None:
    if compiled and stage == FINE:
        for block in model.blocks:
            block.compile(dynamic=False)
    trailing = torch.zeros((), device=batches.device)
    for step in run.until(end):
        noisy, sigma, target, text = batches.of(step)
        with torch.autocast(batches.device, dtype=torch.bfloat16):
            velocity = model(noisy, sigma, *text)
        loss = (velocity.float() - target).square().mean()
        set_rate(run.optimizer, model.rate * learning_rate(step, run.share, warm_up=400))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        run.advance()
        trailing += loss.detach()
        if run.step % 50 == 0:
            run.log(loss=trailing.item() / 50, gradient_norm=norm.item(), pixels=stage.pixels)
            trailing.zero_()


class _Batches:
    """Latents and captions of a stage's scenes, kept where the network is."""

    def __init__(self, stage, folder, model, autoencoder, seed, device, workers) -> None:
        self.stage, self.seed, self.device = stage, seed, device
        kept = latents(
            stage, folder / f"latents-{model.name}-{stage.pixels}.safetensors", autoencoder, seed, workers
        )
        self.latents = model.tokens(kept.latents).to(device)
        self.text = [each.to(device) for each in model.text(kept.captions)]
        self.empty = [each.to(device) for each in model.text([""])]

    def of(self, step: int):
        """Noisy latents, noise level, the velocity that is to be found, and what the text encoders take."""
        stage, device = self.stage, self.device
        random = step_generator(self.seed, step, device)
        rows = torch.randint(len(self.latents), (stage.batch,), generator=random, device=device)
        empty = torch.rand(stage.batch, 1, generator=random, device=device) < _EMPTY_CAPTIONS
        text = [
            torch.where(empty, none, each[rows]) for each, none in zip(self.text, self.empty, strict=True)
        ]
        clean = self.latents[rows].float()
        noise = torch.randn(clean.shape, generator=random, device=device)
        level = torch.randn(stage.batch, generator=random, device=device)
        sigma = (stage.sigma_mean + stage.sigma_spread * level).sigmoid()
        noisy = torch.lerp(clean, noise, sigma.view(-1, *[1] * (clean.ndim - 1)))
        return noisy, sigma, noise - clean, text


@dataclass(frozen=True)
class Latents:
    """Bfloat16 latents ``[scene, channel, y, x]``, and captions."""

    latents: torch.Tensor
    captions: list[str]


@torch.no_grad()
def latents(stage: Stage, path: Path, autoencoder, seed: int, workers: int = 1) -> Latents:
    """Latents of the stage's scenes, encoded once and kept."""
    scenes = SceneSet(stage.scenes, seed + 1, pixels=stage.pixels, workers=workers)
    if not path.exists():
        batches = [
            scaled_latents(autoencoder, images).to(torch.bfloat16).cpu()
            for images in tqdm(scenes.images.split(512), desc=f"latents {stage.pixels}px", disable=None)
        ]
        save_file({"latents": torch.cat(batches).contiguous()}, path)
    return Latents(load_file(path)["latents"], scenes.captions)
