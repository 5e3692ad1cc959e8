"""Errors of rounding, against numpy in float64, channel by channel."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError
from ditscope.passes import SCHEMES, Scheme
from ditscope.passes.number_formats import rounded

MASSIVE = [2, 11, 20]
SETS = {"massive": ChannelSet.of(MASSIVE), "random": ChannelSet.of([0, 1, 3], control=True)}


def int8(values: np.ndarray) -> np.ndarray:
    step = abs(values).max() / 127
    return np.round(values / step) * step


def test_every_number_equals_numpy(make_hidden, fake_cache) -> None:
    hidden = make_hidden(samples=2, steps=2, blocks=2)
    found = passes.quantization_error(fake_cache(hidden), SETS, ["int8 per tensor"], apart="mx9")
    assert found["relative_mse"].dims[:4] == ("kept", "scheme", "selector", "draw")
    for place in np.ndindex(2, 2, 2, 2):
        values = hidden.values[place].astype(np.float64)
        here = found.isel(dict(zip(("sample", "step", "branch", "block"), place, strict=True))).squeeze()
        for name, ids in (("massive", MASSIVE), ("random", [0, 1, 3])):
            rest = np.setdiff1d(np.arange(24), ids)
            mixed = values.copy()
            mixed[:, ids], mixed[:, rest] = rounded(values[:, ids], SCHEMES["mx9"]), int8(values[:, rest])
            for kept, made in (("together", int8(values)), ("apart", mixed)):
                squares = (made - values) ** 2
                own = here.sel(selector=name, kept=kept)
                expected = squares.sum() / (values**2).sum()
                of_rest = squares[:, rest].sum() / (values[:, rest] ** 2).sum()
                assert float(own["relative_mse"]) == pytest.approx(expected, rel=1e-12)
                assert float(own["rest_relative_mse"]) == pytest.approx(of_rest, rel=1e-12)
                assert float(own["sqnr"]) == pytest.approx(-10 * np.log10(expected))
                assert float(own["rest_sqnr"]) == pytest.approx(-10 * np.log10(of_rest))


def test_a_massive_channel_takes_the_range_of_the_others(make_hidden) -> None:
    hidden = make_hidden(samples=1, steps=1, branches=1, blocks=1, chunks=None, dtype=np.float32, spread=2)
    values = hidden.values
    values[..., 11] *= 1000
    schemes = ["int8 per tensor", "int8 per token", "int8 per channel", "mx6", Scheme(7, "block", 4)]
    found = passes.quantization_error(hidden.copy(data=values), {"massive": ChannelSet.of([11])}, schemes)
    rest = found["rest_relative_mse"].squeeze()
    assert rest["scheme"].values[-1] == "8 bits per 4 channels, 1 a part"
    together, apart = (rest.sel(kept=kept) for kept in ("together", "apart"))
    assert (together.isel(scheme=slice(0, 2)) > 0.3).all()
    assert (apart < 0.01).all()
    assert float(together.sel(scheme="int8 per channel")) == pytest.approx(
        float(apart.sel(scheme="int8 per channel"))
    )
    # Relative to all, the massive channel hides what is lost.
    assert (found["relative_mse"].sel(kept="together") < 0.01).all()


def test_channels_that_are_not_finite_are_left_out(make_hidden) -> None:
    hidden = make_hidden(samples=1, steps=1, branches=1, blocks=1, chunks=None, dtype=np.float32)
    broken = hidden.copy(deep=True)
    broken[..., 3, 11] = np.inf
    with pytest.warns(UserWarning, match="ids 11"):
        found = passes.quantization_error(broken, {"massive": ChannelSet.of([2, 11])}, "int4 per tensor")
    kept = [channel for channel in range(24) if channel != 11]
    expected = passes.quantization_error(
        hidden.isel(channel=kept), {"massive": ChannelSet.of([2])}, "int4 per tensor"
    )
    np.testing.assert_allclose(found["relative_mse"], expected["relative_mse"])
    assert found["nonfinite_channels"].item() == 1


def test_bad_input(make_hidden) -> None:
    with pytest.raises(InputError, match="'int5'"):
        passes.quantization_error(make_hidden(), SETS, ["int5"])
    with pytest.raises(InputError, match="no channel sets"):
        passes.quantization_error(make_hidden(), {})
