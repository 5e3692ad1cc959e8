"""Number formats, one number at a time in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from ditscope.errors import InputError
from ditscope.passes import SCHEMES, Scheme
from ditscope.passes.number_formats import rounded, scheme_of


def by_hand(values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Values ``[token, channel]`` rounded one by one; steps of integers in float64, powers of two exact."""
    out = np.zeros_like(values)
    most = 2**scheme.bits - 1
    for token, channel in np.ndindex(*values.shape):
        if scheme.per == "block":
            start = channel // scheme.width * scheme.width
            block = values[token, start : start + scheme.width]
            largest = max(map(abs, block.tolist()))
            own = channel // scheme.pair * scheme.pair
            of_pair = max(map(abs, values[token, own : own + scheme.pair].tolist()))
            if largest == 0:
                continue
            exponent = exponent_of(largest)
            if scheme.pair > 1 and (of_pair == 0 or exponent_of(of_pair) < exponent):
                exponent -= 1
            step = Fraction(2) ** (exponent - scheme.bits + 1)
        else:
            group = {"tensor": values, "channel": values[:, channel], "token": values[token]}[scheme.per]
            step = Fraction(float(abs(group).max() / most))
            if step == 0:
                continue
        whole = max(-most, min(most, round(Fraction(float(values[token, channel])) / step)))
        out[token, channel] = float(whole * step)
    return out


def exponent_of(value: float) -> int:
    exponent = 0
    while Fraction(2) ** exponent > Fraction(value):
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= Fraction(value):
        exponent += 1
    return exponent


@pytest.fixture
def values() -> np.ndarray:
    random = np.random.default_rng(0)
    made = random.normal(size=(4, 41)) * np.geomspace(1e-6, 3e3, 41)
    made[1, 16:32] = 0  # a whole block
    made[2, 5] = 2.0**-3  # exactly a power of two
    made[3, 33] = np.nextafter(2.0, 0)  # just under one
    return made


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_rounds_as_by_hand(values, name) -> None:
    np.testing.assert_allclose(rounded(values, SCHEMES[name]), by_hand(values, SCHEMES[name]), rtol=1e-14)


@pytest.mark.parametrize("name", SCHEMES)
def test_torch_rounds_as_numpy(values, name) -> None:
    single = values.astype(np.float32)
    both = rounded(torch.tensor(single), SCHEMES[name], torch).numpy(), rounded(single, SCHEMES[name])
    assert both[0].dtype == both[1].dtype == np.float32
    assert np.array_equal(*both)


def test_blocks_that_hold_a_number_exactly_keep_it() -> None:
    exact = np.array([[1.0, 0.5, -0.75, 1.75]])
    assert np.array_equal(rounded(exact, Scheme(3, "block", 4)), exact)
    assert np.array_equal(rounded(exact, Scheme(2, "block", 4)), [[1.0, 0.5, -1.0, 1.5]])
    # The second pair is small enough for one bit more.
    assert np.array_equal(
        rounded(np.array([[1.0, 1.5, 0.75, 0.25]]), Scheme(2, "block", 4, 2)), [[1, 1.5, 0.75, 0.25]]
    )


def test_a_zero_tensor_stays() -> None:
    for scheme in SCHEMES.values():
        assert not rounded(np.zeros((2, 3)), scheme).any()


def test_schemes_are_refused_by_what_is_wrong() -> None:
    for wrong in (
        {"bits": 0},
        {"bits": 3, "per": "row"},
        {"bits": 3, "width": 0},
        {"bits": 3, "width": 6, "pair": 4},
    ):
        with pytest.raises(InputError):
            Scheme(**wrong)
    assert scheme_of("mx9") == Scheme(7, "block", 16, 2)
    with pytest.raises(InputError, match="'mx5'"):
        scheme_of("mx5")
    assert [scheme.label for scheme in SCHEMES.values()] == list(SCHEMES)
