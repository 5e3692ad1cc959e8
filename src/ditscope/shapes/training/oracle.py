"""Train the oracle on real scenes only."""

from __future__ import annotations

from pathlib import Path

import torch
from tqdm.auto import tqdm

from ditscope.shapes.oracle import ATTRIBUTE_VALUES, Oracle
from ditscope.shapes.training.data import SceneSet, step_generator, to_model
from ditscope.shapes.training.state import Run, learning_rate, set_rate

_RATE, _BATCH = 2e-3, 64
_NOISE = 0.08  # a little noise, so that an answer does not hang on exact pixel values


def train_oracle(folder: Path, *, steps: int, seed: int, device: str, scenes: int = 12_000) -> Oracle:
    """Train, or resume, the classifier; every answer counts the same."""
    torch.manual_seed(seed)
    model = Oracle().to(device)
    run = Run("oracle", folder, model, _RATE)
    data = SceneSet(scenes, seed + 2)
    for step in tqdm(range(run.step, steps), desc="oracle", disable=None):
        random = step_generator(seed, step)
        rows = torch.randint(len(data), (_BATCH,), generator=random)
        images = to_model(data.images[rows])
        images = images + _NOISE * torch.randn(images.shape, generator=random)
        logits = model(images.to(device))
        labels = data.labels[rows].to(device)
        losses = [
            torch.nn.functional.cross_entropy(logits[name], labels[:, column])
            for column, name in enumerate(ATTRIBUTE_VALUES)
        ]
        loss = torch.stack(losses).sum()
        set_rate(run.optimizer, _RATE * learning_rate(step, steps, warm_up=50, decay_share=0.5))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.advance()
        if run.step % 50 == 0:
            run.log(loss=loss.item())
    run.save()
    return model.eval()
