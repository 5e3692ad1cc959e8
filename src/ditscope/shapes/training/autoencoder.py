"""Train an autoencoder: reconstruction with a light pull of the latents towards a unit normal."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import AutoencoderDC, AutoencoderKL

from ditscope.shapes import networks
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE = 2e-3
_PULL = {"autoencoder": 2e-4, "autoencoder_dc": 1e-3}  # of the latents towards a unit normal
_BUILD = {"autoencoder": networks.autoencoder, "autoencoder_dc": networks.autoencoder_dc}
_SPREAD = 0.2  # of the noise on latents of an encoder that says none itself


def train_autoencoder(
    folder: Path,
    *,
    steps: int,
    seed: int,
    device: str,
    scenes: int = 8000,
    name: str = "autoencoder",
    n_objects: tuple[int, ...] = (1,),
    batch: int = 32,
    workers: int = 1,
) -> AutoencoderKL | AutoencoderDC:
    """Train on whole scenes at both resolutions of the curriculum, and set the latents' scale and shift."""
    torch.manual_seed(seed)
    model = _BUILD[name]().to(device, memory_format=torch.channels_last)
    run = Run(name, folder, model, _RATE, steps=steps, ema=0.995)
    count = scenes if run.share < 1 else 0
    sets = [SceneSet(count, seed, pixels=pixels, n_objects=n_objects, workers=workers) for pixels in (64, 32)]
    for step in run.until():
        random = step_generator(seed, step)
        data = sets[step % 4 == 3]  # every fourth batch at the coarse resolution
        size = batch * (4 if data is sets[1] else 1)
        rows = torch.randint(len(data), (size,), generator=random)
        images = to_model(data.images[rows]).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16):
            mean, log_variance = _encode(model, images)
            latents = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=random).to(device)
            decoded = model.decode(latents).sample
        error = (decoded.float() - images).square().mean()
        absolute = (decoded.float() - images).abs().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).float().mean()
        set_rate(run.optimizer, _RATE * learning_rate(step, run.share, warm_up=50, decay_share=0.5))
        run.optimizer.zero_grad(set_to_none=True)
        (error + absolute + _PULL[name] * divergence).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        run.advance()
        if run.step % 20 == 0:
            run.log(error=error.item(), absolute=absolute.item(), divergence=divergence.item())
    run.finished()
    _set_latent_scale(model, SceneSet(min(scenes, 512), seed, n_objects=n_objects).images)
    return model


def _encode(model: AutoencoderKL | AutoencoderDC, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of the latents and the logarithm of their variance."""
    encoded = model.encode(images)
    if isinstance(model, AutoencoderDC):
        return encoded.latent, torch.full_like(encoded.latent, 2 * math.log(_SPREAD))
    return encoded.latent_dist.mean, encoded.latent_dist.logvar


@torch.no_grad()
def scaled_latents(model: AutoencoderKL | AutoencoderDC, images: torch.Tensor) -> torch.Tensor:
    """Latents ``[image, channel, y, x]`` as a transformer sees them, of images uint8 ``[image, rgb, y, x]``."""
    mean, _ = _encode(model, to_model(images).to(model.device))
    # SANA's has no shift.
    return (mean - model.config.get("shift_factor", 0.0)) * model.config.scaling_factor


def _set_latent_scale(model: AutoencoderKL | AutoencoderDC, images: torch.Tensor) -> None:
    model.register_to_config(
        scaling_factor=1.0, **({"shift_factor": 0.0} if "shift_factor" in model.config else {})
    )
    latents = scaled_latents(model, images)
    if "shift_factor" in model.config:
        model.register_to_config(shift_factor=round(latents.mean().item(), 5))
    model.register_to_config(scaling_factor=round(1.0 / latents.std().item(), 5))
