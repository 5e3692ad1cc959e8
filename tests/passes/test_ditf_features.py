"""Features against numpy in float64; tests/families has them against what attention is passed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.channels import ChannelSet
from ditscope.errors import InputError

MASSIVE = ChannelSet.of([2, 5])


class Recording:
    def __init__(self, **sites: xr.DataArray) -> None:
        self.sites = sites

    def hidden(self, stream="image", site="block_output", *, channels=None):
        if site not in self.sites:
            raise InputError(site, "a recorded site", "Record it.")
        return self.sites[site].assign_attrs(stream=stream, site=site)

    def stats(self, stream="image", site="block_output"):
        raise KeyError(site)


@pytest.fixture(params=[np.float32, "bfloat16"])
def recorded(make_hidden, request):
    given = {"samples": 2, "blocks": 3, "edge": 3, "channels": 6, "chunks": None}
    states = make_hidden(**given, **({"dtype": np.float32} if request.param is np.float32 else {}))
    shift, scale = (
        make_hidden(**given, dtype=np.float32, seed=seed).isel(token=0, drop=True) for seed in (3, 4)
    )
    return Recording(block_input=states, attn_shift=shift, attn_scale=scale)


def parts(recorded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of block 1, step 1, uncond: states ``[sample, token, channel]``, shift and scale ``[sample, 1, channel]``."""
    at = {"block": 1, "step": 1, "branch": 1}
    states = recorded.sites["block_input"].isel(at).values.astype(np.float64)
    return states, *(
        recorded.sites[f"attn_{n}"].isel(at).values.astype(float)[:, None] for n in ("shift", "scale")
    )


def modulate(states, shift, scale) -> np.ndarray:
    normed = (states - states.mean(-1, keepdims=True)) / np.sqrt(states.var(-1, keepdims=True) + 1e-6)
    return (1 + scale) * normed + shift


HERE = {"block": "double.1", "step": -2, "branch": "uncond"}


def test_raw_modulated_and_discarded(recorded) -> None:
    states, shift, scale = parts(recorded)
    without = np.where(np.isin(range(6), [2, 5]), 0, states)
    after = np.where(np.isin(range(6), [2, 5]), 0, modulate(states, shift, scale))
    for given, expected in (
        ({"modulated": False}, states),
        ({"modulated": False, "discard": MASSIVE}, without),
        ({"modulated": False, "discard": MASSIVE, "when": "after"}, without),
        ({}, modulate(states, shift, scale)),
        ({"discard": MASSIVE}, modulate(without, shift, scale)),
        ({"discard": MASSIVE, "when": "after"}, after),
    ):
        found = ds.passes.ditf_features(recorded, **HERE, **given)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
        assert found.dims == ("sample", "token", "channel")
        assert {"y", "x", "prompt"} <= set(found.coords)


def test_features_are_lazy_where_the_recording_is(recorded) -> None:
    chunked = {name: site.chunk({"sample": 1, "block": 1}) for name, site in recorded.sites.items()}
    found = ds.passes.ditf_features(Recording(**chunked), **HERE, discard=MASSIVE)
    assert found.chunks is not None
    np.testing.assert_allclose(found, ds.passes.ditf_features(recorded, **HERE, discard=MASSIVE))


def test_what_is_not_there_is_refused(recorded) -> None:
    for given, words in (
        ({"block": "double.7"}, "double.7"),
        ({"block": [0, 1]}, "2 blocks"),
        ({"when": "during"}, "when 'during'"),
        ({"branch": "none"}, "branch 'none'"),
        ({"step": 3}, "step 3"),
        ({"discard": ChannelSet.of([9])}, "channels that are not there"),
    ):
        with pytest.raises(InputError, match=words):
            ds.passes.ditf_features(recorded, **{**HERE, **given})
    del recorded.sites["attn_shift"]
    with pytest.raises(InputError, match="attn_shift"):
        ds.passes.ditf_features(recorded, **HERE)
    ds.passes.ditf_features(recorded, **HERE, modulated=False)
