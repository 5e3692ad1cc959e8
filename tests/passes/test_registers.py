"""The census against numpy, with registers and massive channels planted apart."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.channels import ChannelSet
from ditscope.errors import InputError

MASSIVE = ChannelSet.of([2, 5])


@pytest.fixture(params=[None, {"sample": 1, "block": 2, "token": 7, "channel": 3}])
def hidden(make_hidden, request):
    """Massive channels at all tokens; in block 1 also three tokens of large norm, where these are larger."""
    made = make_hidden(samples=2, blocks=3, edge=5, channels=12, dtype=np.float32, chunks=None, spread=2)
    values = made.values
    values[..., [2, 5]] += 60
    values[:, :, :, 1, [3, 8, 20]] *= 9
    made = made.copy(data=values)
    return made if request.param is None else made.chunk(request.param)


def census(states: np.ndarray, *, ratio=3.0, most=8, excise=True) -> tuple[dict[str, float], np.ndarray]:
    own, others = states[:, [2, 5]], np.delete(states, [2, 5], axis=1)
    norm = np.sqrt(((others if excise else states) ** 2).sum(1))
    out = (norm > ratio * np.median(norm)) & (norm >= np.sort(norm)[-min(most, len(norm))])
    score, excised = abs(own).mean(1), np.sqrt((others**2).sum(1))
    found = {
        "outliers": out.sum(),
        "outlier_share": out.mean(),
        "massive_share": (score > 3 * abs(others).mean(1)).mean(),
        "spread": score.std() / score.mean(),
        "selectivity": np.median(score[out]) / np.median(score[~out]) if out.any() else np.nan,
        "elevation": np.median(excised[out]) / np.median(excised[~out]) if out.any() else np.nan,
    }
    return found, out


@pytest.mark.parametrize("given", [{}, {"ratio": 1.5, "most": 2}, {"ratio": 1.2, "excise": False}])
def test_it_is_the_census_of_numpy(hidden, given) -> None:
    found = ds.passes.registers(hidden, MASSIVE, **given).compute()
    for at in np.ndindex(2, 3, 2, 3):
        here = dict(zip(("sample", "step", "branch", "block"), at, strict=True))
        expected, outlier = census(hidden.isel(here).values.astype(float), **given)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name].isel(here), value, err_msg=name)
        assert np.array_equal(found["outlier"].isel(here), outlier)
    if not given:
        assert found["outliers"].isel(block=1).values.min() == 3
        assert found["outliers"].isel(block=[0, 2]).values.max() == 0
        assert (found["massive_share"].isel(block=0) == 1).all()
        assert found["selectivity"].isel(block=0).isnull().all()


def test_nothing_is_read_before_it_is_computed(hidden) -> None:
    assert all(ds.passes.registers(hidden, MASSIVE)[name].chunks for name in ("outliers", "outlier"))


def test_sets_of_each_block_and_padding(hidden) -> None:
    sets = ChannelSet.of({0: [2, 5], 1: [0, 1], 2: [2, 5]})
    found = ds.passes.registers(hidden, sets).compute()
    one = ds.passes.registers(hidden, MASSIVE).compute()
    assert found["spread"].isel(block=[0, 2]).equals(one["spread"].isel(block=[0, 2]))
    assert not np.allclose(found["massive_share"].isel(block=1), one["massive_share"].isel(block=1))
    real = np.ones((2, 25), bool)
    real[0, [3, 8, 24]] = False
    masked = hidden.assign_coords(token_mask=(("sample", "token"), real))
    part = ds.passes.registers(masked, MASSIVE).compute().isel(sample=0)
    kept = ds.passes.registers(hidden.isel(sample=[0], token=real[0]), MASSIVE).compute().isel(sample=0)
    for name in ("outliers", "outlier_share", "massive_share", "selectivity"):
        np.testing.assert_allclose(part[name], kept[name])
    assert not part["outlier"].isel(token=~real[0]).any()


def test_a_state_with_nan_has_no_census(hidden) -> None:
    values = hidden.values
    values[0, 0, 0, 0, 4, 7] = np.nan
    found = ds.passes.registers(hidden.copy(data=values), MASSIVE).compute()
    assert bool(found["outliers"][0, 0, 0, 0].isnull())
    assert int(found["outliers"].isnull().sum()) == 1


@pytest.mark.parametrize(
    ("channels", "given", "words"),
    [
        (ChannelSet.of([40]), {}, "channels that are not there"),
        (ChannelSet.of([1], stream="text"), {}, "of the text stream"),
        (ChannelSet.of({0: [1]}), {}, "a set for block"),
        (ChannelSet.of(range(12)), {}, "every channel"),
        (MASSIVE, {"ratio": 0}, "ratio=0"),
        (MASSIVE, {"most": 0}, "most=0"),
    ],
)
def test_what_cannot_be_counted_is_refused(hidden, channels, given, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.passes.registers(hidden, channels, **given)
