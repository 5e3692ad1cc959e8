"""Masks of several sets at once: which states are read, how often, and where a token's values land."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from ditscope.channels import ChannelSet
from ditscope.errors import InputError
from ditscope.passes import MaskOptions, latent_masks
from ditscope.passes.clustering import foreground
from ditscope.passes.latent_masks import ImageStates, make_masks


def states(source, **where) -> ImageStates:
    return ImageStates(
        source, **{"blocks": None, "steps": None, "branch": "cond", "site": "block_output", **where}
    )


@pytest.fixture
def hidden(make_hidden) -> xr.DataArray:
    return make_hidden(samples=2, steps=2, blocks=3, edge=4, channels=6, dtype=np.float32, chunks=None)


def test_states_are_read_lazily_by_the_addresses_asked_for(hidden) -> None:
    read = states(hidden, blocks=["double.2", 0], steps=-1, branch="uncond").read([5, 2])
    assert read.dims == ("block", "step", "sample", "token", "channel")
    expected = hidden.sel(branch="uncond", block=[0, 2], step=[1], channel=[5, 2])
    np.testing.assert_array_equal(read, expected.transpose(*read.dims))
    one = hidden.isel(branch=0, block=1, step=0, sample=0)
    assert states(one).read().shape == (1, 1, 1, 16, 6)


def test_every_set_has_its_own_masks_whose_values_land_on_the_grid(hidden) -> None:
    order = np.random.default_rng(0).permutation(16)
    sets = {"list": ([4, 1], MaskOptions()), "all": ("all", MaskOptions(scale="none"))}
    masks = make_masks(states(hidden.isel(token=order)), sets)
    values = hidden.sel(branch="cond").transpose("block", "step", "sample", "token", "channel").values
    few = values[..., [4, 1]].astype(np.float64)
    few = (few - few.min(-2, keepdims=True)) / np.ptp(few, axis=-2, keepdims=True)
    for name, heat in (("list", few.sum(-1)), ("all", values.astype(np.float64).sum(-1))):
        assert masks[name]["heat"].dims == ("block", "step", "draw", "sample", "y", "x")
        found = masks[name]["heat"].isel(draw=0)
        np.testing.assert_allclose(found, heat.reshape(3, 2, 2, 4, 4), rtol=1e-5, atol=1e-5)
        share = masks[name]["mask"].mean(("y", "x"))
        np.testing.assert_allclose(masks[name]["foreground_share"], share)
    y, x = np.divmod(np.arange(16), 4)
    border = (y % 3 == 0) | (x % 3 == 0)
    for at in np.ndindex(3, 2, 2):
        tokens = foreground(values[at], border, MaskOptions(scale="none"))
        assert np.array_equal(masks["all"]["mask"].isel(draw=0).values[at], tokens.mask.reshape(4, 4))
    assert masks["list"].attrs["scale"] == "minmax"
    assert (masks["all"]["collapsed"] == (np.minimum(share, 1 - share) < 0.02)).all()


def counted(hidden: xr.DataArray) -> tuple[xr.DataArray, list[None]]:
    """The states in one chunk a sample, and a list that grows by one with each chunk that is read."""
    reads: list[None] = []

    def load(chunk: np.ndarray) -> np.ndarray:
        reads.append(None)
        return chunk

    chunked = da.from_array(hidden.values, chunks=(1, -1, -1, -1, -1, -1))
    return hidden.copy(data=chunked.map_blocks(load, dtype=np.float32, meta=np.empty(0))), reads


def test_each_image_is_read_once_for_all_sets(hidden) -> None:
    source, reads = counted(hidden)
    make_masks(states(source), {name: ([1, 2], MaskOptions()) for name in "abc"})
    assert len(reads) == 2


def test_refusals_come_before_any_reading(hidden) -> None:
    source, reads = counted(hidden)
    good = ([1, 2], MaskOptions())
    with pytest.raises(InputError, match="channel 9 in the set; expected one of the 6 recorded"):
        make_masks(states(source), {"good": good, "late": ([9], MaskOptions())})
    with pytest.raises(InputError, match="text stream"):
        make_masks(states(source), {"good": good, "text": (ChannelSet.of([1], stream="text"), MaskOptions())})
    assert reads == []


def test_slabs_do_not_change_the_result(hidden, monkeypatch) -> None:
    whole = make_masks(states(hidden), {"all": ("all", MaskOptions())})["all"]
    monkeypatch.setattr(latent_masks, "_SLAB_BYTES", 1)
    xr.testing.assert_equal(whole, make_masks(states(hidden), {"all": ("all", MaskOptions())})["all"])


def test_blocks_vote_on_the_side_of_the_foreground(hidden) -> None:
    truth = np.arange(16) < 5
    signs = [1, -1, 1]
    noise = np.random.default_rng(0).normal(0, 0.1, hidden.shape)
    values = noise + truth[:, None] * np.array(signs)[:, None, None]  # [..., block, token, channel]
    signed, voted = (
        make_masks(states(hidden.copy(data=values)), {"a": ("all", MaskOptions(vote=vote))})["a"]
        for vote in (False, True)
    )
    flat = voted["mask"].values.reshape(3, 2, 1, 2, 16)
    assert (flat == truth).all()
    np.testing.assert_array_equal(signed["mask"].values[1], ~voted["mask"].values[1])
    np.testing.assert_allclose(voted["foreground_share"], 5 / 16)
    assert voted.attrs["vote"] == 1
    with pytest.raises(InputError, match="a vote of 2 blocks"):
        make_masks(states(hidden, blocks=[0, 1]), {"a": ("all", MaskOptions(vote=True))})
