"""Train the text-image scorer by contrast of scenes and captions (Radford et al. 2021, 2.3)."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPModel

from ditscope.shapes import networks
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE, _BATCH = 1.5e-3, 96


def train_clip(
    folder: Path,
    *,
    steps: int,
    seed: int,
    device: str,
    scenes: int = 40_000,
    workers: int = 1,
) -> CLIPModel:
    """Train, or resume, the contrastive model."""
    torch.manual_seed(seed)
    model = networks.clip().to(device)
    run = Run("clip", folder, model, _RATE, steps=steps, ema=0.995)
    if run.share == 1.0:
        return run.finished()
    data = SceneSet(scenes, seed + 3, workers=workers)
    ids = networks.caption_ids(data.captions, start=True)
    for step in run.until():
        random = step_generator(seed, step)
        rows = torch.randint(len(data), (_BATCH,), generator=random)
        with torch.autocast(device, dtype=torch.bfloat16):
            output = model(
                input_ids=ids[rows].to(device), pixel_values=to_model(data.images[rows]).to(device)
            )
        logits = output.logits_per_text.float()
        target = torch.arange(_BATCH, device=device)
        cross_entropy = torch.nn.functional.cross_entropy
        loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        set_rate(run.optimizer, _RATE * learning_rate(step, run.share, warm_up=200, decay_share=0.5))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        run.advance()
        if run.step % 50 == 0:
            run.log(loss=loss.item(), accuracy=(logits.argmax(1) == target).float().mean().item())
    return run.finished()
