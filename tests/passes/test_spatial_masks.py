from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError
from ditscope.passes import MaskOptions

EDGE = 8
PLANTED = (3, 11)


@pytest.fixture
def planted(make_hidden):
    """An object in another corner in each sample, written into two channels with opposite signs."""
    hidden = make_hidden(samples=4, edge=EDGE, dtype=np.float32, chunks=None)
    y, x = hidden["y"].values, hidden["x"].values
    masks = np.stack(
        [
            (y >= 4 * (s // 2)) & (y < 4 + 4 * (s // 2)) & (x >= 4 * (s % 2)) & (x < 4 + 4 * (s % 2))
            for s in range(4)
        ]
    )
    values = hidden.values
    values[..., 3] = 0.01 * values[..., 3] + 5 * masks[:, None, None, None]
    values[..., 11] = 0.01 * values[..., 11] - 5 * masks[:, None, None, None]
    return hidden.copy(data=values), masks.reshape(4, EDGE, EDGE)


def test_masks_land_on_the_grid(planted):
    hidden, truth = planted
    found = passes.spatial_masks(hidden, [3], blocks="double.2")
    np.testing.assert_array_equal(found["mask"], truth)
    assert found["mask"].dims == ("sample", "y", "x")
    assert (found["block"], found["step"], found["branch"]) == (2, 2, "cond")
    np.testing.assert_allclose(found["foreground_share"], 0.25)
    assert not found["collapsed"].any()
    assert list(found["prompt"].values) == list(hidden["prompt"].values)


def test_tokens_in_any_order_and_grids_that_are_not_square(planted):
    hidden, truth = planted
    order = np.random.default_rng(0).permutation(EDGE**2)
    np.testing.assert_array_equal(passes.spatial_masks(hidden.isel(token=order), [3])["mask"], truth)
    wide = hidden.isel(token=hidden["y"].values < 5)
    assert passes.spatial_masks(wide, [3])["mask"].shape == (4, 5, 8)


def test_block_step_and_branch_mean_what_they_say(planted):
    hidden, _ = planted
    relabelled = hidden.assign_coords(block=[10, 20, 30, 40], step=[0, 5, 9])
    everything = passes.spatial_masks(relabelled, "all", blocks=None, steps=None)
    assert everything["mask"].dims == ("block", "step", "sample", "y", "x")
    for asked, label in ((20, 20), (-1, 40), (-4, 10), ("double.2", 30)):
        one = passes.spatial_masks(relabelled, "all", blocks=asked, steps=5)
        assert one["block"] == label
        xr.testing.assert_equal(one["mask"], everything["mask"].sel(block=label, step=5))
    both = passes.spatial_masks(relabelled, "all", blocks=[40, "double.0"], steps=[9])
    assert both["block"].values.tolist() == [10, 40]  # in execution order
    assert both["mask"].dims == ("block", "step", "sample", "y", "x")
    assert both.equals(passes.spatial_masks(relabelled, "all", blocks=["double.0", -1], steps=[-1]))
    other = passes.spatial_masks(relabelled, "all", blocks=20, steps=5, branch="uncond")
    assert not np.array_equal(other["heat"], everything["heat"].sel(block=20, step=5))


def test_a_kind_is_all_of_its_blocks_and_keeps_the_dimension(planted):
    hidden, _ = planted
    kinds = hidden.assign_coords(block_kind=("block", ["double", "double", "double", "single"]))
    names = ["double.0", "double.1", "double.2", "single.0"]
    kinds = kinds.assign_coords(block_name=("block", names))
    assert passes.spatial_masks(kinds, [3], blocks="double")["block"].values.tolist() == [0, 1, 2]
    assert passes.spatial_masks(kinds, [3], blocks="single")["mask"].dims == ("block", "sample", "y", "x")
    assert passes.spatial_masks(kinds, [3], blocks="single.0")["mask"].dims == ("sample", "y", "x")
    one = passes.spatial_masks(kinds.isel(block=3), [3], blocks="single.0")
    xr.testing.assert_equal(one["mask"], passes.spatial_masks(kinds, [3])["mask"])
    bare = hidden.drop_vars(["block", "block_name"])
    xr.testing.assert_equal(
        passes.spatial_masks(bare, [3], blocks=1)["mask"].drop_vars("block"),
        passes.spatial_masks(hidden, [3], blocks=1)["mask"].drop_vars(["block", "block_name"]),
    )


def test_sets_per_block_per_sample_and_per_draw(planted):
    hidden, truth = planted
    by_block = ChannelSet.of({0: [5], 2: [3], 3: [3, 11]})
    np.testing.assert_array_equal(passes.spatial_masks(hidden, by_block, blocks=2)["mask"], truth)
    per_sample = xr.DataArray(
        [[[3]], [[11]], [[3]], [[11]]],
        dims=("sample", "block", "rank"),
        coords={"sample": range(4), "block": [2]},
    )
    found = passes.spatial_masks(hidden, ChannelSet(per_sample), blocks=2)["mask"].values
    np.testing.assert_array_equal(found, truth ^ np.array([0, 1, 0, 1], dtype=bool)[:, None, None])
    ids = xr.DataArray([[[3], [11]]], dims=("block", "draw", "rank"), coords={"block": [2]})
    drawn = passes.spatial_masks(hidden, ChannelSet(ids), blocks=2)["mask"]
    assert drawn.dims == ("draw", "sample", "y", "x")
    np.testing.assert_array_equal(drawn[1], ~truth)


def test_only_the_channels_in_use_are_read(planted, fake_cache):
    hidden, truth = planted
    cache = fake_cache(hidden.chunk(sample=1, channel=5).assign_coords(channel=np.arange(24) * 2))
    found = passes.spatial_masks(cache, ChannelSet.of([22, 6]))
    assert cache.channels_asked == [6, 22]
    xr.testing.assert_equal(found["mask"], passes.spatial_masks(hidden, [11, 3])["mask"])
    del truth


def test_collapse_and_non_finite_are_reported(planted):
    hidden, _ = planted
    hidden[0, :, :, :, 5, 3] = 500
    hidden[1, :, :, :, 5, 3] = np.nan
    with pytest.warns(UserWarning, match="1 of 4 masks"):
        found = passes.spatial_masks(hidden, list(PLANTED))
    assert found["nonfinite_channels"].values.tolist() == [0, 1, 0, 0]
    assert passes.spatial_masks(hidden[:1], [3])["collapsed"].values.tolist() == [True]
    assert passes.spatial_masks(-hidden[:1], [3])["collapsed"].values.tolist() == [True]  # all but one token
    assert not passes.spatial_masks(hidden[:1], [3], options=MaskOptions(scale="percentile"))[
        "collapsed"
    ].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"blocks": "single.5"}, "double.0 to double.3"),
        ({"blocks": 4}, "block 4"),
        ({"blocks": -5}, "block -5"),
        ({"blocks": []}, "no blocks"),
        ({"steps": 3}, "step 3.*steps 0 to 2"),
        ({"steps": -4}, "step -4"),
        ({"branch": "negative"}, "'uncond'"),
        ({"channels": [24]}, "channel 24"),
        ({"channels": "most"}, "'most'"),
        ({"channels": ChannelSet.of([1], stream="text")}, "text stream"),
        ({"channels": ChannelSet.of({0: [1]}), "blocks": 2}, "block 2"),
        ({"site": "mlp_output"}, "block_output"),
    ],
)
def test_bad_input(planted, options, words):
    with pytest.raises(InputError, match=words):
        passes.spatial_masks(planted[0], **{"channels": [3], **options})


def test_arrays_without_a_grid(planted):
    with pytest.raises(InputError, match="without y and x"):
        passes.spatial_masks(planted[0].drop_vars(["y", "x"]), [3])
    with pytest.raises(InputError, match="a token for every cell"):
        passes.spatial_masks(planted[0].isel(token=slice(1, None)), [3])


def test_masks_of_clipped_channels_say_so(make_hidden):
    hidden = make_hidden(samples=4, steps=1, branches=1, blocks=1, dtype=np.float16, chunks=None)
    hidden[1, 0, 0, 0, 5, 3] = 65504
    with pytest.warns(UserWarning, match="values at the limit of float16 in 1 of 4 masks"):
        found = passes.spatial_masks(hidden, [3, 4], blocks=0, steps=0)
    assert found["saturated_channels"].values.tolist() == [0, 1, 0, 0]
