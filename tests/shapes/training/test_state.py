"""A training run that is stopped and resumed is the run that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ditscope.shapes.training.data import step_generator
from ditscope.shapes.training.state import Run, learning_rate, set_rate


def train(folder: Path, until: int, *, total: int = 6, save: bool = True) -> Run:
    """Train, or go on with, a tiny network up to a step, as the training script does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    run = Run("tiny", folder, model, 1e-2, ema=0.99)
    for step in range(run.step, until):
        random = step_generator(7, step)
        inputs = torch.randn(5, 4, generator=random)
        loss = (model(inputs) - inputs[:, :3]).square().mean()
        set_rate(run.optimizer, 1e-2 * learning_rate(step, total, warm_up=2))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.advance()
        run.log(loss=loss.item())
    if save:
        run.save()
    return run


def assert_same_state(one: Path, other: Path) -> None:
    found, expected = load_file(one), load_file(other)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resuming_gives_the_unbroken_run_bit_for_bit(tmp_path, stop) -> None:
    straight = train(tmp_path / "straight", 6)
    train(tmp_path / "resumed", stop)
    resumed = train(tmp_path / "resumed", 6)
    assert resumed.step == straight.step == 6
    assert_same_state(resumed.path, straight.path)
    for one, other in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_steps_after_the_last_save_are_trained_again(tmp_path) -> None:
    straight = train(tmp_path / "straight", 6)
    train(tmp_path / "killed", 3)
    train(tmp_path / "killed", 5, save=False)  # killed before it could save
    (tmp_path / "killed" / "tiny.state.partial").write_bytes(b"half a file")
    assert_same_state(train(tmp_path / "killed", 6).path, straight.path)


def test_the_average_follows_the_weights_and_is_what_is_kept(tmp_path) -> None:
    run = train(tmp_path, 6)
    state = load_file(run.path)
    average = torch.zeros_like(state["weight/0.weight"])
    torch.manual_seed(0)
    first = nn.Linear(4, 8).weight.detach()
    assert not torch.equal(state["average/0.weight"], state["weight/0.weight"])
    # Between where it began and where it is, and nearer to where it is: a young average forgets.
    average = state["average/0.weight"]
    assert (average - state["weight/0.weight"]).norm() < (average - first).norm()
    run.use_average()
    assert torch.equal(run.model[0].weight, average)


def test_the_curve_goes_on_in_one_file(tmp_path) -> None:
    train(tmp_path, 3)
    train(tmp_path, 6)
    rows = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(one["seconds"] <= other["seconds"] for one, other in zip(rows, rows[1:], strict=False))


def test_the_learning_rate_rises_holds_and_falls_to_zero() -> None:
    rates = [learning_rate(step, 100, warm_up=10, decay_share=0.3) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:71] == [1.0] * 62
    assert rates[85] == pytest.approx(0.5)
    assert rates[100] == 0.0
    assert all(0 <= rate <= 1 for rate in rates)


def test_the_rate_is_set_in_every_group() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
