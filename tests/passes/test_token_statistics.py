from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes

REFERENCE = {
    "mean_abs": lambda x: abs(x).mean(-2),
    "abs_mean": lambda x: abs(x.mean(-2)),
    "std": lambda x: x.std(-2),
    "abs_max": lambda x: abs(x).max(-2),
    "energy": lambda x: (x**2).mean(-2),
}


def test_offset_does_not_lose_the_spread():
    # sqrt(E[x^2] - E[x]^2) in float32 gives 0 or NaN here; float32 keeps 1e4 + noise of 0.01 apart.
    values = (1e4 + np.random.default_rng(0).normal(0, 0.01, (1, 1, 1, 1, 4096, 2))).astype(np.float32)
    hidden = xr.DataArray(values, dims=("sample", "step", "branch", "block", "token", "channel"))
    expected = values.astype(np.float64).std(-2).reshape(2)
    np.testing.assert_allclose(passes.token_statistics(hidden)["std"].values.reshape(2), expected, rtol=1e-9)


def test_large_slabs_go_in_pieces(monkeypatch, make_hidden):
    import sys

    module, kernel = (sys.modules[f"ditscope.passes.token_{part}"] for part in ("statistics", "reduction"))
    hidden = make_hidden(chunks=None)
    whole = passes.token_statistics(hidden).compute()
    monkeypatch.setattr(kernel, "_PIECE", 100)  # fewer values than one slab: tokens are split
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3000)
    xr.testing.assert_allclose(whole, passes.token_statistics(hidden).compute(), rtol=1e-12)


def test_non_finite_values_are_counted_and_left_out(make_hidden):
    hidden = make_hidden(dtype=np.float32, chunks=None)
    hidden[1, 0, 0, 2, 3:5, 7] = np.nan
    hidden[1, 0, 0, 2, 5, 7] = -np.inf
    hidden[0, 0, 0, 0, :, 1] = np.inf
    found = passes.token_statistics(hidden.chunk(sample=1)).compute()
    here = {"sample": 1, "step": 0, "branch": "cond", "block": 2, "channel": 7}
    kept = np.delete(hidden.sel(here).values.astype(np.float64), [3, 4, 5])
    assert found["nonfinite"].sel(here) == 3
    assert found["nonfinite"].sum() == 3 + hidden.sizes["token"]
    np.testing.assert_allclose(found["mean"].sel(here), kept.mean())
    np.testing.assert_allclose(found["std"].sel(here), kept.std())
    assert np.isnan(found.sel(sample=0, step=0, branch="cond", block=0, channel=1)["abs_max"])


@pytest.mark.parametrize("padding", [np.nan, 1e6])
def test_text_padding_is_left_out(make_hidden, padding):
    hidden = make_hidden(chunks=None, dtype=np.float32).drop_vars(["y", "x"]).assign_attrs(stream="text")
    length = np.random.default_rng(1).integers(1, hidden.sizes["token"], (6, 2))
    mask = np.arange(hidden.sizes["token"]) < length[..., None]
    hidden = hidden.assign_coords(token_mask=(("sample", "branch", "token"), mask))
    poisoned = hidden.where(hidden["token_mask"], np.float32(padding))  # NaN there must not even be counted
    found = passes.token_statistics(poisoned.chunk(sample=2, channel=5, token=7), stream="text").compute()
    for sample, branch in np.ndindex(6, 2):
        cell = hidden.isel(sample=sample, branch=branch, token=slice(length[sample, branch])).values
        one = found.isel(sample=sample, branch=branch)
        np.testing.assert_allclose(one["mean_abs"], REFERENCE["mean_abs"](cell.astype(float)), rtol=1e-12)
        assert (one["count"] == length[sample, branch]).all()
    assert found["nonfinite"].sum() == 0
