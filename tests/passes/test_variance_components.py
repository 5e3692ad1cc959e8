"""Sums of squares against numpy's, in a balanced design; what is not balanced is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import stdtrit

import ditscope as ds
from ditscope.errors import InputError


def split(values: np.ndarray, axes: list[int]) -> np.ndarray:
    """Shares of main effects along ``axes`` of ``[..., channel]``, and what is left."""
    every = tuple(range(values.ndim - 1))
    mean = values.mean(every, keepdims=True)
    total = ((values - mean) ** 2).mean(every)
    rest = [tuple(a for a in every if a != axis) for axis in axes]
    parts = [((values.mean(other, keepdims=True) - mean) ** 2).mean(every) for other in rest]
    return np.stack([*(part / total for part in parts), 1 - sum(parts) / total])


@pytest.fixture
def crossed(make_hidden):
    """4 prompts x 2 seeds, with effects planted and samples out of order."""
    random = np.random.default_rng(3)
    hidden = make_hidden(samples=8, branches=1, blocks=3, edge=3, channels=5, dtype=np.float32, chunks=None)
    values = hidden.values + 1000
    values += random.normal(0, 2, 4).repeat(2)[:, None, None, None, None, None]
    values += np.arange(3)[None, :, None, None, None, None]
    return hidden.copy(data=values).isel(sample=random.permutation(8))


def grid(hidden: xr.DataArray) -> np.ndarray:
    """The block's values ``[prompt, seed, step, token, channel]`` in float64."""
    wide = hidden.isel(branch=0).set_index(sample=["prompt", "seed"]).unstack("sample")
    return wide.transpose("block", "prompt", "seed", "step", "token", "channel").values.astype(float)


@pytest.mark.parametrize("chunks", [None, {"sample": 3, "block": 2, "channel": 2}])
def test_shares_are_those_of_numpy_and_add_up(crossed, chunks) -> None:
    found = ds.passes.variance_components(crossed if chunks is None else crossed.chunk(chunks))
    assert found["component"].values.tolist() == ["prompt", "seed", "step", "token", "leftover"]
    for block, values in enumerate(grid(crossed)):
        np.testing.assert_allclose(found["share"].isel(block=block), split(values, [0, 1, 2, 3]), atol=1e-9)
        np.testing.assert_allclose(found["mean"].isel(block=block), values.mean((0, 1, 2, 3)))
        np.testing.assert_allclose(found["variance"].isel(block=block), values.var((0, 1, 2, 3)))
    np.testing.assert_allclose(found["share"].sum("component"), 1)
    assert found["expected"].values.tolist() == pytest.approx([3 / 215, 1 / 215, 2 / 215, 8 / 215, 201 / 215])
    assert found.attrs["values"] == 216


def test_intervals_leave_one_prompt_out(crossed) -> None:
    found = ds.passes.variance_components(crossed, level=0.9)
    values = grid(crossed)[1]
    left = np.stack([split(np.delete(values, prompt, 0), [0, 1, 2, 3]) for prompt in range(4)])
    half = stdtrit(3, 0.95) * np.sqrt(3 / 4 * ((left - left.mean(0)) ** 2).sum(0))
    own = split(values, [0, 1, 2, 3])
    np.testing.assert_allclose(found["low"].isel(block=1), np.clip(own - half, 0, 1), atol=1e-9)
    np.testing.assert_allclose(found["high"].isel(block=1), np.clip(own + half, 0, 1), atol=1e-9)
    assert found.attrs["clustered_by"] == "prompt"


def test_a_statistic_is_decomposed_over_what_it_leaves(crossed) -> None:
    found = ds.passes.variance_components(
        crossed, factors=["step", "prompt"], statistic="abs_mean", channels=[4, 0], cluster="prompt"
    )
    for block, values in enumerate(grid(crossed)):
        expected = split(abs(values.mean(3))[..., [4, 0]], [2, 0])
        np.testing.assert_allclose(found["share"].isel(block=block), expected, atol=1e-6)
    assert found["channel"].values.tolist() == [4, 0]


def test_labels_of_ones_own_are_factors(crossed) -> None:
    labels = {"pooled": ("sample", list("abababab")), "text": ("sample", list("aabbccdd"))}
    crossed = crossed.sortby("prompt").assign_coords(labels)
    found = ds.passes.variance_components(crossed, factors=["pooled", "text"])
    values = crossed.isel(branch=0).values.astype(float).reshape(4, 2, 3, 3, 9, 5)[:, :, :, 1]
    np.testing.assert_allclose(found["share"].isel(block=1), split(values, [1, 0]), atol=1e-9)


def test_constant_and_broken_channels_have_no_shares(crossed) -> None:
    values = crossed.values
    values[..., 1] = 0.1
    values[0, 0, 0, 0, 0, 2] = np.inf
    found = ds.passes.variance_components(crossed.copy(data=values))["share"]
    assert found.sel(channel=1).isnull().all()
    assert found.sel(channel=2).isel(block=0).isnull().all()
    assert found.sel(channel=2).isel(block=[1, 2]).notnull().all()


@pytest.mark.parametrize(
    ("samples", "given", "words"),
    [
        (slice(7), {}, "prompts of 1 to 2 samples"),
        ([0, 1, 2, 3], {"seeds": [0, 1, 2, 3]}, "prompt and seed that meet 0 to 1 times"),
        (slice(8), {"factors": ["branch"]}, "one branch"),
        (slice(8), {"factors": ["colour"]}, "factor 'colour'"),
        (slice(8), {"factors": ["token"], "statistic": "std"}, "factor 'token'"),
        (slice(8), {"cluster": "step"}, "cluster='step'"),
        (slice(8), {"factors": []}, "no factors"),
    ],
)
def test_what_cannot_be_split_is_refused(crossed, samples, given, words) -> None:
    crossed = crossed.sortby("prompt").isel(sample=samples)
    if "seeds" in given:
        crossed = crossed.assign_coords(seed=("sample", given.pop("seeds")))
    with pytest.raises(InputError, match=words):
        ds.passes.variance_components(crossed, **given)
