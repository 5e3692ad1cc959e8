import numpy as np
import pytest
import xarray as xr
import zarr
from store_recording import (
    bits,
    record,
)

from ditscope.cache import (
    open_cache,
)


def test_plain_xarray_gives_the_same_values_and_labels(store):
    cache = open_cache(store)
    tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    for stream in ("image", "text"):
        ours, plain = cache.hidden(stream), tree[stream]["block_output"]
        assert plain.dims == ours.dims
        np.testing.assert_array_equal(bits(plain.values), bits(ours.values))
        group = xr.open_zarr(store, group=stream)
        assert set(group.coords) >= set(ours.coords) - {"done"}
        for name in set(ours.coords) - {"done"}:
            assert group[name].dims == ours[name].dims
            assert group[name].values.tolist() == ours[name].values.tolist()
        stats = tree[f"{stream}/stats/block_output"].to_dataset()
        assert set(stats.data_vars) == set(cache.stats(stream).data_vars)
        for name, values in cache.stats(stream).items():
            np.testing.assert_array_equal(stats[name].values, values.values)
    assert tree["image"]["block_output"].sel(branch="cond", block=4).sizes["token"] == 12
    np.testing.assert_array_equal(tree["images"].values, cache.images.values)
    np.testing.assert_array_equal(tree["trajectory/latents"].values, cache.trajectory["latents"].values)
    assert tree["done"].values.tolist() == [True, True]
    assert tree.attrs["ditscope"]["config_hash"] == cache.manifest["config_hash"]


def test_plain_zarr_gives_the_same_values_without_warnings(store, recwarn):
    array = zarr.open(store, mode="r")["image/block_output"]
    np.testing.assert_array_equal(bits(array[...]), bits(open_cache(store).hidden().values))
    names = {name for name, _ in zarr.open_group(store, mode="r", use_consolidated=False).members()}
    assert names >= {"image", "text", "trajectory", "images", "done"}
    assert not [str(warning.message) for warning in recwarn if "recognized" in str(warning.message)]


def test_nothing_is_left_when_creation_fails(tmp_path, monkeypatch):
    from ditscope.cache import store_creation

    monkeypatch.setattr(store_creation, "_sync_tree", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []
