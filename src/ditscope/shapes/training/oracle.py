"""Train the oracle on real scenes only."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from ditscope.shapes.oracle import OPEN, QUESTIONS, Oracle
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE, _BATCH = 2e-3, 64
_NOISE = 0.08  # a little noise, so that an answer does not hang on exact pixel values


def train_oracle(
    folder: Path, *, steps: int, seed: int, device: str, scenes: int = 24_000, workers: int = 1
) -> Oracle:
    """Train, or resume, the classifier; every answer counts the same."""
    torch.manual_seed(seed)
    model = Oracle().to(device)
    run = Run("oracle", folder, model, _RATE, steps=steps)
    if run.share == 1.0:
        return run.finished()
    data = SceneSet(scenes, seed + 2, workers=workers)
    for step in run.until():
        random = step_generator(seed, step)
        rows = torch.randint(len(data), (_BATCH,), generator=random)
        images = to_model(data.images[rows])
        images = images + _NOISE * torch.randn(images.shape, generator=random)
        logits = model(images.to(device))
        labels = data.labels[rows].to(device)
        losses = [
            cross_entropy(logits[name], labels[:, column], ignore_index=OPEN, reduction="sum") / len(rows)
            for column, name in enumerate(QUESTIONS)
        ]
        loss = torch.stack(losses).sum()
        set_rate(run.optimizer, _RATE * learning_rate(step, run.share, warm_up=50, decay_share=0.5))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.advance()
        if run.step % 50 == 0:
            run.log(loss=loss.item())
    return run.finished()
