"""Changes from step to step, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError

MASSIVE = [2, 11, 20]


@pytest.fixture
def sets() -> dict[str, ChannelSet]:
    drawn = ChannelSet.of([0, 1, 3], label="random", control=True)
    return {"massive": ChannelSet.of(MASSIVE), "random": drawn}


def norm(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).sum()))


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float((x * y).sum() / norm(x) / norm(y))


def test_every_number_equals_numpy(make_hidden, sets, fake_cache) -> None:
    hidden = make_hidden(samples=3, steps=3, blocks=2)
    found = passes.redundancy(fake_cache(hidden), sets, keep=0.25)
    assert found["relative_change"].dims == ("sample", "step", "branch", "block")
    assert found["step"].values.tolist() == [1, 2]
    assert found["step_before"].values.tolist() == [0, 1]
    everything = hidden.values.astype(np.float64)
    for place in np.ndindex(3, 2, 2, 2):
        sample, step, branch, block = place
        x, y = everything[sample, step, branch, block], everything[sample, step + 1, branch, block]
        here = found.isel(sample=sample, step=step, branch=branch, block=block)
        assert float(here["relative_change"]) == pytest.approx(norm(y - x) / norm(x), rel=1e-12)
        assert float(here["cosine"]) == pytest.approx(cosine(x, y), rel=1e-12)
        expected = abs(y - x).sum(0) / abs(x).sum(0)
        np.testing.assert_allclose(here["channel_change"], expected, rtol=1e-12)
        moved = (y - x) ** 2
        first = set(np.argsort(-moved.sum(1))[:9])
        entries = np.nonzero(moved >= np.sort(moved, axis=None)[-216])[1]  # with those at a tie
        for name, ids in (("massive", MASSIVE), ("random", [0, 1, 3])):
            rest = np.setdiff1d(np.arange(24), ids)
            other = set(np.argsort(-moved[:, rest].sum(1))[:9])
            own = here.sel(selector=name, draw=0)
            for variable, value in {
                "relative_change_of": norm((y - x)[:, ids]) / norm(x[:, ids]),
                "relative_change_without": norm((y - x)[:, rest]) / norm(x[:, rest]),
                "cosine_of": cosine(x[:, ids], y[:, ids]),
                "cosine_without": cosine(x[:, rest], y[:, rest]),
                "change_share": moved[:, ids].sum() / moved.sum(),
                "energy_share": (x[:, ids] ** 2).sum() / (x**2).sum(),
                "channel_share": 3 / 24,
                "token_jaccard": len(first & other) / len(first | other),
                "entry_share": np.isin(entries, ids).mean(),
            }.items():
                assert float(own[variable]) == pytest.approx(value, rel=1e-12), variable


def test_a_massive_channel_that_stays_hides_the_change_of_the_others(make_hidden) -> None:
    hidden = make_hidden(samples=1, steps=2, branches=1, blocks=1, chunks=None, dtype=np.float32)
    values = hidden.values
    values[..., 5] = 1e4 + values[..., 5]  # a constant, with a little noise
    found = passes.redundancy(hidden.copy(data=values), {"massive": ChannelSet.of([5])}).squeeze()
    assert float(found["relative_change"]) < 0.05
    assert float(found["relative_change_without"]) > 1
    assert float(found["cosine"]) > 0.99 > 0.5 > float(found["cosine_without"])
    assert float(found["energy_share"]) > 0.99 > float(found["change_share"])


def test_what_does_not_change_has_no_share(make_hidden, sets) -> None:
    hidden = make_hidden(samples=1, steps=1, branches=1, blocks=1, chunks=None)
    twice = hidden.isel(step=[0, 0]).assign_coords(step=[0, 1])
    found = passes.redundancy(twice, sets).squeeze("sample")
    assert float(found["relative_change"].squeeze()) == 0
    assert found["change_share"].isnull().all()
    assert float(found["cosine"].squeeze()) == pytest.approx(1)


def test_channels_that_are_not_finite_are_left_out(make_hidden, sets) -> None:
    hidden = make_hidden(samples=1, steps=3, branches=1, blocks=1, chunks=None, dtype=np.float32)
    broken = hidden.copy(deep=True)
    broken[0, 0, 0, 0, 3, 11] = np.nan
    with pytest.warns(UserWarning, match="1 channels"):
        found = passes.redundancy(broken, sets)
    assert found["nonfinite_channels"].values.ravel().tolist() == [1, 0]
    kept = [channel for channel in range(24) if channel != 11]
    without = passes.redundancy(hidden.isel(channel=kept), {"massive": ChannelSet.of([2, 20])})
    for name in ("relative_change", "relative_change_of", "entry_share", "channel_share"):
        first = {"step": 0, "selector": 0, "draw": 0}
        one, other = (
            each[name].isel({d: i for d, i in first.items() if d in each[name].dims})
            for each in (found, without)
        )
        np.testing.assert_allclose(one, other)


def test_bad_input(make_hidden, sets) -> None:
    hidden = make_hidden(chunks=None)
    with pytest.raises(InputError, match="1 step"):
        passes.redundancy(hidden.isel(step=[0]), sets)
    for keep in (0, 1.5):
        with pytest.raises(InputError, match="keep"):
            passes.redundancy(hidden, sets, keep=keep)
    with pytest.raises(InputError, match="no channel sets"):
        passes.redundancy(hidden, {})
