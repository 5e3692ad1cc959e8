"""Matches against torch's interpolation and an exhaustive search; scores against counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import ditscope as ds
from ditscope.errors import InputError

HEIGHT, WIDTH = 20, 24


@pytest.fixture
def features() -> xr.DataArray:
    """Five samples on a grid of 4 x 6, tokens in no order."""
    random = np.random.default_rng(0)
    order = random.permutation(24)
    y, x = np.divmod(order, 6)
    return xr.DataArray(
        random.normal(0.5, 1, (5, 24, 7)),
        dims=("sample", "token", "channel"),
        coords={"sample": [10, 11, 12, 13, 14], "y": ("token", y), "x": ("token", x)},
    )


@pytest.fixture
def pairs() -> xr.Dataset:
    random = np.random.default_rng(1)
    shape = ("pair", "point", "axis")
    points = random.uniform(0, [HEIGHT, WIDTH], (2, 3, 4, 2))
    points[:, 1, 3] = np.nan
    return xr.Dataset(
        {
            "source": ("pair", [10, 12, 14]),
            "target": ("pair", [13, 10, 11]),
            "source_points": (shape, points[0]),
            "target_points": (shape, points[1]),
            "extent": ("pair", [10.0, 20.0, 30.0]),
        },
        attrs={"height": HEIGHT, "width": WIDTH},
    )


def resized(features: xr.DataArray, sample: int) -> np.ndarray:
    """``[y, x, channel]`` at every pixel's centre, by torch."""
    grid = (
        features.sel(sample=sample)
        .set_index(token=["y", "x"])
        .unstack("token")
        .transpose("channel", "y", "x")
    )
    wide = torch.nn.functional.interpolate(
        torch.from_numpy(grid.values)[None], size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False
    )
    return wide[0].permute(1, 2, 0).numpy()


def test_a_match_is_the_most_similar_pixel(features, pairs) -> None:
    # Points at centres of pixels, where torch has their features.
    pairs["source_points"] = np.floor(pairs["source_points"]) + 0.5
    found = ds.passes.correspondence(features, pairs)
    for pair in range(3):
        source, target = (resized(features, int(pairs[name][pair])) for name in ("source", "target"))
        target = target / np.linalg.norm(target, axis=-1, keepdims=True)
        for point in range(4 - (pair == 1)):
            y, x = (pairs["source_points"].values[pair, point] - 0.5).astype(int)
            alike = target @ (source[y, x] / np.linalg.norm(source[y, x]))
            # Pixels beyond the outermost centres tie.
            matched = tuple((found["matched"].values[pair, point] - 0.5).astype(int))
            assert alike[matched] == pytest.approx(alike.max())
            assert float(found["similarity"][pair, point]) == pytest.approx(alike.max())
    assert found["matched"][1, 3].isnull().all()


def test_pck_counts_points_within_the_tolerance(features, pairs) -> None:
    found = ds.passes.correspondence(features, pairs, alphas=(0.2, 0.6))
    off = np.hypot(*np.moveaxis((found["matched"] - pairs["target_points"]).values, -1, 0))
    np.testing.assert_allclose(found["distance"], off)
    for row, alpha in enumerate((0.2, 0.6)):
        near = off <= alpha * pairs["extent"].values[:, None]
        own = [near[0].mean(), near[1, :3].mean(), near[2].mean()]
        np.testing.assert_allclose(found["pck"][row], own)
        assert float(found["mean"][row]) == pytest.approx(np.mean(own))
        assert float(found["per_point"][row]) == pytest.approx(near.sum() / 11)
    assert 0 < float(found["mean"][1]) < 1
    assert (found["low"] < found["mean"]).all()


def test_an_object_that_moved_is_found_where_it_is(features) -> None:
    """The target is the source, moved by two tokens down."""
    grid = np.random.default_rng(2).normal(size=(4, 6, 7))
    moved = np.roll(grid, 2, axis=0)
    both = xr.DataArray(
        np.stack([grid, moved]).reshape(2, 24, 7),
        dims=("sample", "token", "channel"),
        coords={
            "sample": [0, 1],
            "y": ("token", np.repeat(range(4), 6)),
            "x": ("token", np.tile(range(6), 4)),
        },
    )
    here = np.array([[[2.5, 6.0], [2.5, 14.0]]])  # centres of tokens are at 2.5 + 5 y and 2 + 4 x
    pairs = xr.Dataset(
        {
            "source": ("pair", [0]),
            "target": ("pair", [1]),
            "source_points": (("pair", "point", "axis"), here),
            "target_points": (("pair", "point", "axis"), here + [10, 0]),
            "extent": ("pair", [20.0]),
        },
        attrs={"height": HEIGHT, "width": WIDTH},
    )
    found = ds.passes.correspondence(both, pairs, alphas=(0.05,))
    assert found["pck"].values.tolist() == [[1.0]]
    assert float(found["similarity"].min()) > 0.95


def test_features_that_are_not_finite_match_nothing(features, pairs) -> None:
    features[3, 2, 1] = np.nan  # sample 13, the target of the first pair
    found = ds.passes.correspondence(features, pairs)
    assert found["matched"][0].isnull().all()
    assert found["pck"].isel(pair=0).isnull().all()
    assert found["pck"].isel(pair=[1, 2]).notnull().all()


def test_what_cannot_be_matched_is_refused(features, pairs) -> None:
    for changed, of, words in (
        (features.drop_vars("y"), pairs, "with coordinates y and x"),
        (features, pairs.drop_vars("extent"), "pairs without extent"),
        (features, pairs.drop_attrs(), "pairs without height, width"),
        (features.isel(sample=[0, 1, 2]), pairs, r"pairs of samples \[13, 14\]"),
    ):
        with pytest.raises(InputError, match=words):
            ds.passes.correspondence(changed, of)
    with pytest.raises(InputError, match="alphas="):
        ds.passes.correspondence(features, pairs, alphas=(0.0,))
