"""What plain zarr readers see: every array and label, bit for bit, by zarr-python, TensorStore and xarray."""

import json

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from store_recording import SAMPLES, bits, make_schema, open_writer, record

from ditscope.cache import SampleSpec, StoredSite, StreamSpec, open_cache, verify
from ditscope.cache.layout import plan_arrays
from ditscope.cache.lazy_array import StoredArray
from ditscope.cache.sample_ledger import Ledger
from ditscope.cache.zarr_metadata import SAMPLES_PER_CHUNK, done_file, zarr_files


@pytest.fixture(scope="module", params=[("bfloat16", None), ("float32", "zstd"), ("float16", None)])
def recorded(request, tmp_path_factory):
    """A store of awkward sizes, in many files, with every kind of array."""
    dtype, compression = request.param
    some = StoredSite.of("image", "attn_output", (0, 4), dtype)
    schema = make_schema(
        ("attn_gate", "block_output", some),
        dtype,
        streams=(StreamSpec("image", 12, 3, 4, random_tokens=5), StreamSpec("text", 5)),
        compression=compression,
        shard_bytes=4000,
    )
    return record(tmp_path_factory.mktemp("recorded") / "a.zarr", schema)


def arrays(cache):
    """Every array with its values as ditscope reads them, by path."""
    for path, plan in cache.plans.items():
        yield path, plan, StoredArray(cache.source(path), cache.committed)[:]


def test_zarr_python_reads_what_ditscope_reads(recorded):
    cache = open_cache(recorded)
    for path, plan, values in arrays(cache):
        array = zarr.open_array(recorded / path, mode="r")
        assert array.metadata.dimension_names == ("sample", *plan.dims)
        assert array.dtype == values.dtype
        np.testing.assert_array_equal(bits(array[...]), bits(values), err_msg=path)


def test_tensorstore_reads_what_ditscope_reads(recorded):
    cache = open_cache(recorded)
    for path, _, values in arrays(cache):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{recorded / path}/"}}
        array = tensorstore.open(spec, open=True, read=True).result()
        assert array.domain.labels[0] == "sample"
        np.testing.assert_array_equal(bits(array.read().result()), bits(values), err_msg=path)


def test_xarray_reads_every_group_with_its_labels(recorded):
    """With ditscope imported, bfloat16 included."""
    cache = open_cache(recorded)
    for stream, site in (("image", "block_output"), ("text", "block_output"), ("image", "attn_output")):
        hidden = cache.hidden(stream, site)
        plainly = xr.open_zarr(recorded, group=f"{stream}/{site}", consolidated=False)
        np.testing.assert_array_equal(bits(plainly["hidden"].values), bits(hidden.values))
        assert plainly["hidden"].dims == hidden.dims
        for name in (
            "prompt",
            "seed",
            "step",
            "sigma",
            "timestep",
            "branch",
            "block",
            "block_name",
            "channel",
        ):
            assert plainly[name].values.tolist() == hidden[name].values.tolist(), name
        plainly = xr.open_zarr(recorded, group=f"{stream}/{site}/statistics", consolidated=False)
        for name, values in cache.stats(stream, site).items():
            own = plainly["over_tokens"].sel(statistic=name)
            np.testing.assert_array_equal(own if name != "count" else own.isel(channel=0), values)
    gate = xr.open_zarr(recorded, group="text/attn_gate", consolidated=False)
    np.testing.assert_array_equal(gate["values"], cache.hidden("text", "attn_gate"))
    of_text = xr.open_zarr(recorded, group="text", consolidated=False)
    np.testing.assert_array_equal(of_text["token_mask"], cache.hidden("text")["token_mask"])
    of_image = xr.open_zarr(recorded, group="image", consolidated=False)
    np.testing.assert_array_equal(of_image["token_id"], cache.hidden()["token_id"])
    run = xr.open_zarr(recorded, group="trajectory", consolidated=False)
    for name, values in cache.trajectory.items():
        np.testing.assert_array_equal(bits(run[name].values), bits(values.values))
    assert run["step_boundary"].values.tolist() == [0, 1, 2, 3, 4]
    root = xr.open_zarr(recorded, consolidated=False)
    assert root["done"].values.tolist() == [True, True]
    np.testing.assert_array_equal(root["images"], cache.images)


def test_consolidated_metadata_are_those_of_the_nodes(recorded):
    root = json.loads((recorded / "zarr.json").read_text())
    has_bfloat16 = open_cache(recorded).schema.dtype == "bfloat16"
    assert ("consolidated_metadata" in root) == (not has_bfloat16)
    if not has_bfloat16:
        listed = root["consolidated_metadata"]["metadata"]
        on_disk = {
            str(path.parent.relative_to(recorded)): json.loads(path.read_text())
            for path in recorded.rglob("zarr.json")
            if path.parent != recorded
        }
        assert listed == on_disk
        tree = xr.open_datatree(recorded, engine="zarr")
        assert tree["image/block_output"]["hidden"].shape == (2, 2, 2, 3, 5, 70)


def test_a_store_that_grows_is_seen_to_grow(tmp_path):
    """Lengths, labels and ``done`` of plain readers, and what is not there yet reads as missing."""
    store = record(tmp_path / "a.zarr", make_schema(dtype="float32"), samples=[1])
    assert xr.open_zarr(store)["done"].values.tolist() == [False, True]
    more = [*SAMPLES, SampleSpec("drei", 4), SampleSpec("last\ud800", 5)]
    record(store, make_schema(dtype="float32"), samples=[3], specs=more)
    root = xr.open_zarr(store)
    assert root["done"].values.tolist() == [False, True, False, True]
    assert root["prompt"].values.tolist() == ["a red circle", "ein grünes Dreieck", "drei", "last?"]
    assert root["seed"].values.tolist() == [0, 7, 4, 5]
    hidden = xr.open_zarr(store, group="image/block_output")["hidden"]
    assert hidden.sizes["sample"] == 4
    assert hidden[[0, 2]].isnull().all()
    np.testing.assert_array_equal(hidden[[1, 3]], open_cache(store).hidden())
    assert verify(store).ok


def test_labels_of_many_samples_are_in_chunks_that_are_not_written_again():
    schema = make_schema()
    plans = plan_arrays(schema)
    specs = [SampleSpec("a", seed) for seed in range(SAMPLES_PER_CHUNK + 2)]
    manifest = {"config_hash": "0"}
    small = zarr_files(schema, plans, manifest, Ledger(specs[:-1], {}))
    large = zarr_files(schema, plans, manifest, Ledger(specs, {SAMPLES_PER_CHUNK + 1: None}))
    assert {name for name in large if name.startswith("seed/")} == {"seed/zarr.json", "seed/c.0", "seed/c.1"}
    assert small["seed/c.0"] == large["seed/c.0"]
    assert small["seed/c.1"] != large["seed/c.1"]
    name, content = done_file(len(specs), {SAMPLES_PER_CHUNK + 1}, SAMPLES_PER_CHUNK + 1)
    assert (name, content) == ("done/c.1", large["done/c.1"])


def test_labels_are_mirrors_that_every_recording_brings_up_to_date(store):
    (store / "prompt/c.0").write_bytes(b"another")
    (store / "image/block_output/zarr.json").unlink()
    assert not verify(store).ok
    open_writer(store).close()
    assert verify(store).ok
