"""Controls by rank: frozen ones are the ranking's, live ones the edit's own."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.edits.ranked_channels import RankedChannels
from ditscope.errors import InputError

HIDDEN = xr.DataArray(
    np.random.default_rng(0).normal(size=(1, 2, 1, 3, 5, 20)) * np.linspace(1, 3, 20),
    dims=("sample", "step", "branch", "block", "token", "channel"),
    coords={"block": range(3)},
)
RANKING = ds.passes.rank_channels(HIDDEN)


@pytest.mark.parametrize(
    ("name", "sizes"), [("top", (4,)), ("bottom", (4,)), ("middle", (4,)), ("window", (3, 7))]
)
def test_frozen_ones_are_the_rankings(name, sizes) -> None:
    control, method = getattr(ds.controls, name), getattr(RANKING, name)
    assert control(*sizes, RANKING) == control(*sizes, HIDDEN) == method(*sizes)
    by_energy = ds.passes.rank_channels(HIDDEN, statistic="energy", over=("token",))
    assert control(*sizes, HIDDEN, statistic="energy", over=("token",)) == getattr(by_energy, name)(*sizes)


def test_live_ones_say_what_they_are() -> None:
    for made, which, label, control in (
        (ds.controls.top(4), "top", "top 4", False),
        (ds.controls.bottom(4), "bottom", "bottom 4", True),
        (ds.controls.middle(4), "middle", "middle 4", True),
        (ds.controls.window(3, 7), "window", "ranks 3 to 6", True),
    ):
        assert made == RankedChannels(which=which, k=4, start=3 * (which == "window"), control=control)
        assert made.label == f"each image's own {label} by mean_abs"
    assert ds.controls.top(4, statistic="std", stream="text").stream == "text"


def test_by_what_varies() -> None:
    by_std = ds.passes.rank_channels(HIDDEN, statistic="std")
    assert ds.controls.std_ranked(4, HIDDEN) == ds.controls.std_ranked(4, by_std) == by_std.top(4)
    assert ds.controls.std_ranked(4) == ds.controls.top(4, statistic="std")
    with pytest.raises(InputError, match="a ranking by mean_abs"):
        ds.controls.std_ranked(4, RANKING)


def test_by_the_gate_of_a_recording(dit, tmp_path) -> None:
    with ds.record(dit, tmp_path / "a.zarr", sites=["attn_gate", "block_output"], tensors=False) as rec:
        cache = rec.generate(["a red circle"], 0, num_inference_steps=1)
    spikes = ds.controls.gate_spikes(5, cache)
    gate = abs(cache.hidden("image", "attn_gate").astype("float64")).mean(["sample", "step", "branch"])
    for block in range(10):
        expected = np.argsort(-gate.sel(block=block).values, kind="stable")[:5]
        assert spikes[block].tolist() == expected.tolist()
    assert (spikes.label, spikes.control) == ("top 5 by |attn_gate|", False)
    assert ds.edits.zero(spikes).scope.site == "block_output"
    with pytest.raises(InputError, match="site 'mlp_output'"):
        ds.controls.gate_spikes(5, cache, site="mlp_output")
    with pytest.raises(InputError, match="no source"):
        ds.controls.gate_spikes(5, None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ds.controls.top(4, RANKING, statistic="std"), "statistic for a ranking"),
        (lambda: ds.controls.top(4, site="block_input"), "site for live channels"),
        (lambda: ds.controls.top(4, statistic="kurtosis"), "kurtosis"),
        (lambda: ds.controls.std_ranked(4, statistic="mean_abs"), "std_ranked by mean_abs"),
        (lambda: ds.controls.std_ranked(4, HIDDEN, statistic="abs_max"), "std_ranked by abs_max"),
        (lambda: ds.controls.bottom(0), "k=0"),
        (lambda: ds.controls.window(5, 5), "k=0"),
        (lambda: ds.controls.window(-1, 5), "start=-1"),
        (lambda: ds.controls.top(21, HIDDEN), "k=21"),
    ],
)
def test_what_cannot_be_chosen_is_refused(call, words) -> None:
    with pytest.raises(InputError, match=words):
        call()
