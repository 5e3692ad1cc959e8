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
    run = Run("tiny", folder, model, 1e-2, steps=total, ema=0.99)
    for step in range(run.step, until):
        random = step_generator(7, step)
        inputs = torch.randn(5, 4, generator=random)
        loss = (model(inputs) - inputs[:, :3]).square().mean()
        set_rate(run.optimizer, 1e-2 * learning_rate(step, run.share, warm_up=2))
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
    assert run.finished() is run.model
    assert not run.model.training
    assert torch.equal(run.model[0].weight, average)
    assert torch.equal(load_file(run.result_path)["0.weight"], average)


def test_the_curve_goes_on_in_one_file(tmp_path) -> None:
    train(tmp_path, 3)
    train(tmp_path, 6)
    rows = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(one["seconds"] <= other["seconds"] for one, other in zip(rows, rows[1:], strict=False))


def test_what_was_trained_is_finished_where_nothing_else_came_along(tmp_path) -> None:
    """Its file alone can be carried to another machine."""
    train(tmp_path, 6).path.unlink()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    run = Run("tiny", tmp_path, model, 1e-2, steps=1000)
    assert run.share == 1.0
    assert [*run.until()] == []
    assert not run.path.exists()
    assert torch.equal(run.finished()[0].weight, load_file(run.result_path)["0.weight"])


def test_averages_of_a_batch_norm_are_resumed_and_kept(tmp_path) -> None:
    inputs = torch.randn(64, 3) * 5 + 2
    for step in range(2):
        run = Run("norm", tmp_path, nn.BatchNorm1d(3), 1e-2, steps=2)
        for _ in run.until((step + 1) / 2):
            run.model(inputs).square().mean().backward()
            run.optimizer.step()
            run.advance()
    expected = 0.9**2 + (1 - 0.9**2) * inputs.var(dim=0)
    torch.testing.assert_close(run.finished().running_var, expected)
    torch.testing.assert_close(load_file(run.result_path)["running_var"], expected)


def test_a_run_ends_by_its_steps_or_by_the_clock(tmp_path, monkeypatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("ditscope.shapes.training.state.time.perf_counter", lambda: next(now))
    by_steps = Run("steps", tmp_path, nn.Linear(1, 1), 1e-2, steps=4)
    for _ in by_steps.until(0.5):
        by_steps.step += 1
    assert (by_steps.step, by_steps.share) == (2, 0.5)
    by_clock = Run("clock", tmp_path, nn.Linear(1, 1), 1e-2, steps=100, seconds=40)
    shares = []
    for _ in by_clock.until():
        by_clock.step += 1
        shares.append(by_clock.share)
    assert 3 < by_clock.step < 40
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_a_long_run_is_saved_on_the_way(tmp_path, monkeypatch) -> None:
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("ditscope.shapes.training.state.time.perf_counter", lambda: next(now))
    run, there = Run("long", tmp_path, nn.Linear(1, 1), 1e-2, steps=9), []
    for _ in run.until():
        run.step += 1
        there.append(run.result_path.exists())
    assert there[:2] == [False, False]
    assert there[-1]


def test_the_learning_rate_rises_holds_and_falls_to_zero() -> None:
    rates = [learning_rate(step, step / 100, warm_up=10, decay_share=0.3) for step in range(101)]
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
