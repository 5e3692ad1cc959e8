"""Training the oracle: every question counts the same, and a finished run is only loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ditscope.shapes.oracle import OPEN, QUESTIONS, Oracle
from ditscope.shapes.training import oracle as training
from ditscope.shapes.training.data import SceneSet, step_generator

FEW = {"seed": 4, "device": "cpu", "scenes": 8}


@pytest.fixture(autouse=True)
def small_batch(monkeypatch) -> None:
    monkeypatch.setattr(training, "_BATCH", 6)


def test_the_first_step_goes_down_the_sum_of_all_cross_entropies(tmp_path) -> None:
    """Adam's first step is the rate times the gradient's sign."""
    trained = training.train_oracle(tmp_path, steps=1, **FEW)
    torch.manual_seed(4)
    model, data, random = Oracle().double(), SceneSet(8, 4 + 2), step_generator(4, 0)
    rows = torch.randint(8, (6,), generator=random)
    images = data.images[rows].double() / 127.5 - 1
    logits = model(images + 0.08 * torch.randn(images.shape, generator=random))
    for number, name in enumerate(QUESTIONS):
        labels = data.labels[rows, number]
        chances = logits[name].softmax(-1)[range(6), labels]
        asked = labels != OPEN  # of a scene with one object nothing is asked about a second
        (-chances[asked].log().sum() / 6).backward(retain_graph=True)
    rate = 2e-3 / 50
    for (name, weight), new in zip(model.named_parameters(), trained.parameters(), strict=True):
        clear = weight.grad.abs() > 0.05 * weight.grad.abs().max()
        if name.startswith("heads.") or clear.sum() > 100:
            step = (new.detach() - weight.detach() * (1 - 0.01 * rate)) / -rate
            agree = (step[clear] - weight.grad[clear].sign()).abs() < 0.1
            assert agree.double().mean() > 0.97, name


def test_a_finished_run_is_only_loaded(tmp_path) -> None:
    first = training.train_oracle(tmp_path, steps=2, **FEW)
    before = load_file(tmp_path / "oracle.state.safetensors")
    again = training.train_oracle(tmp_path, steps=2, **FEW)
    after = load_file(tmp_path / "oracle.state.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not again.training
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert np.array_equal(one.detach(), other.detach())
