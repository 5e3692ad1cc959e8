"""Training the scorer: one step is a step of the library's own contrastive loss, and its average is kept."""

from __future__ import annotations

import torch

from ditscope.shapes import networks
from ditscope.shapes.training import clip as training
from ditscope.shapes.training.data import SceneSet, step_generator


def test_the_first_step_goes_down_clips_own_loss_and_its_average_is_kept(tmp_path, monkeypatch) -> None:
    """Adam's first step is the rate times the gradient's sign; the young average keeps an eleventh of the start."""
    monkeypatch.setattr(training, "_BATCH", 6)
    trained = training.train_clip(tmp_path, steps=1, seed=4, device="cpu", scenes=8)
    assert not trained.training
    torch.manual_seed(4)
    model, data = networks.clip(), SceneSet(8, 4 + 3)
    rows = torch.randint(8, (6,), generator=step_generator(4, 0))
    model(
        input_ids=networks.caption_ids([data.captions[row] for row in rows], start=True),
        pixel_values=data.images[rows] / 127.5 - 1,
        return_loss=True,
    ).loss.backward()
    rate, agree = 1.5e-3 / 200, []
    for weight, new in zip(model.parameters(), trained.parameters(), strict=True):
        if weight.grad is not None and weight.ndim == 2:
            clear = weight.grad.abs() > 0.2 * weight.grad.abs().max()  # training is in bfloat16
            step = (new - weight * (1 - 10 / 11 * 0.01 * rate)) / (-10 / 11 * rate)
            agree.append((step[clear] - weight.grad[clear].sign()).abs() < 0.1)
    assert torch.cat(agree).double().mean() > 0.999
    assert len(torch.cat(agree)) > 1000
