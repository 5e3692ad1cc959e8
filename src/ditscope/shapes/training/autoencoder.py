"""Train the AutoencoderKL: reconstruction with a light pull of the latents towards a unit normal."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from tqdm.auto import tqdm

from ditscope.shapes import networks
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE, _BATCH, _KL_WEIGHT = 2e-3, 32, 2e-4


def train_autoencoder(
    folder: Path, *, steps: int, seed: int, device: str, scenes: int = 8000
) -> AutoencoderKL:
    """Train on whole scenes at both resolutions of the curriculum, and set the latents' scale and shift."""
    torch.manual_seed(seed)
    model = networks.autoencoder().to(device, memory_format=torch.channels_last)
    run = Run("autoencoder", folder, model, _RATE, ema=0.995)
    sets = [SceneSet(scenes, seed, pixels=pixels) for pixels in (64, 32)]
    for step in tqdm(range(run.step, steps), desc="autoencoder", disable=None):
        random = step_generator(seed, step)
        data = sets[step % 4 == 3]  # every fourth batch at the coarse resolution
        size = _BATCH * (4 if data is sets[1] else 1)
        rows = torch.randint(len(data), (size,), generator=random)
        images = to_model(data.images[rows]).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16):
            posterior = model.encode(images).latent_dist
            latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=random).to(
                device
            )
            decoded = model.decode(latents).sample
        error = (decoded.float() - images).square().mean()
        absolute = (decoded.float() - images).abs().mean()
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).float().mean()
        set_rate(run.optimizer, _RATE * learning_rate(step, steps, warm_up=50, decay_share=0.5))
        run.optimizer.zero_grad(set_to_none=True)
        (error + absolute + _KL_WEIGHT * divergence).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        run.advance()
        if run.step % 20 == 0:
            run.log(error=error.item(), absolute=absolute.item(), divergence=divergence.item())
        if run.step % 200 == 0 or run.step == steps:
            run.save()
    run.use_average()
    _set_latent_scale(model, sets[0].images[:512], device)
    return model.eval()


@torch.no_grad()
def _set_latent_scale(model: AutoencoderKL, images: torch.Tensor, device: str) -> None:
    latents = model.encode(to_model(images).to(device)).latent_dist.mean
    model.register_to_config(
        shift_factor=round(latents.mean().item(), 5), scaling_factor=round(1.0 / latents.std().item(), 5)
    )
