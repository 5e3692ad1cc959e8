import json
import pickle

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import bits, cells, hidden_value, make_schema, record, statistics_of

from ditscope.cache import open_cache
from ditscope.cache.lazy_array import StoredArray
from ditscope.errors import CacheError, InputError


def test_dims_labels_and_attributes(store):
    hidden = open_cache(store).hidden("image", "block_output")
    assert hidden.dims == ("sample", "step", "branch", "block", "token", "channel")
    assert hidden.name == "block_output"
    assert hidden.chunks is not None
    assert hidden.attrs == {"stream": "image", "site": "block_output", "grid_height": 3, "grid_width": 4}
    expected = {
        "sample": [0, 1],
        "prompt": ["a red circle", "ein grünes Dreieck"],
        "seed": [0, 7],
        "done": [True, True],
        "step": [1, 3],
        "sigma": [0.75, 0.25],
        "timestep": [750.0, 250.0],
        "branch": ["cond", "uncond"],
        "block": [0, 1, 4],
        "block_name": ["double.0", "double.1", "double.4"],
        "block_kind": ["double"] * 3,
        "token": list(range(12)),
        "y": [0] * 4 + [1] * 4 + [2] * 4,
        "x": [0, 1, 2, 3] * 3,
        "channel": list(range(3, 73)),
    }
    assert {name: hidden[name].values.tolist() for name in hidden.coords} == expected


def test_selection_by_label_gives_the_cell(store):
    schema = make_schema()
    hidden = open_cache(store).hidden()
    chosen = hidden.sel(sample=1, step=3, branch="uncond", block=4)
    np.testing.assert_array_equal(
        bits(chosen.values), bits(hidden_value(schema, 1, "image", "block_output", (1, 1, 2)))
    )
    np.testing.assert_array_equal(bits(chosen.sel(channel=[5, 72])), bits(chosen.values[:, [2, 69]]))
    np.testing.assert_array_equal(bits(chosen[::-2, 3:50:7]), bits(chosen.values[::-2, 3:50:7]))


def test_channels_up_front_equal_channels_selected(store):
    cache = open_cache(store)
    few = cache.hidden(channels=[40, 3, 41])
    assert few.channel.values.tolist() == [40, 3, 41]
    np.testing.assert_array_equal(bits(few.values), bits(cache.hidden().sel(channel=[40, 3, 41]).values))
    with pytest.raises(InputError, match="channel 2"):
        cache.hidden(channels=[2])


def test_statistics(store):
    schema = make_schema()
    stats = open_cache(store).stats("text", "block_output")
    assert stats["mean"].dims == ("sample", "step", "branch", "block", "channel")
    assert stats["count"].dims == ("sample", "step", "branch", "block")
    assert stats.attrs == {"stream": "text", "site": "block_output"}
    for cell in cells(schema):
        expected = statistics_of(hidden_value(schema, 1, "text", "block_output", cell))
        for name, value in expected.items():
            stored = stats[name].values[1][cell]
            assert stored.dtype == (np.int32 if name in ("nonfinite", "count") else np.float32)
            np.testing.assert_array_equal(stored, np.asarray(value).astype(stored.dtype))


def test_text_stream_has_a_mask_of_real_tokens(store):
    hidden = open_cache(store).hidden("text")
    assert hidden.token_mask.dims == ("sample", "branch", "token")
    assert hidden.token_mask.values[1, 1].tolist() == [True] * 4 + [False]
    assert np.isnan(hidden.values[..., 4, :].astype("f4")).all()
    assert "y" not in hidden.coords


def test_images_trajectory_and_samples(store):
    cache = open_cache(store)
    assert cache.images.dims == ("sample", "y_pixel", "x_pixel", "rgb")
    assert cache.images.dtype == np.uint8
    trajectory = cache.trajectory
    assert trajectory["latents"].sizes == {"sample": 2, "step_boundary": 5, "token": 12, "latent_channel": 6}
    assert trajectory["latents"].dtype == np.float32
    assert trajectory["transformer_output"].dims == ("sample", "step", "branch", "token", "latent_channel")
    assert trajectory.step.values.tolist() == [0, 1, 2, 3]
    rng = np.random.default_rng(1)
    latents, outputs = rng.normal(size=(5, 12, 6)), rng.normal(size=(4, 2, 12, 6))
    np.testing.assert_array_equal(trajectory["latents"].values[1], latents.astype("f4"))
    stored = trajectory["transformer_output"].values[1]
    np.testing.assert_array_equal(bits(stored), bits(outputs.astype(stored.dtype)))
    image = rng.integers(0, 256, size=(8, 6, 3))
    np.testing.assert_array_equal(cache.images.values[1], image)
    assert cache.samples.to_dict("list") == {
        "prompt": ["a red circle", "ein grünes Dreieck"],
        "seed": [0, 7],
        "done": [True, True],
    }


def test_uncommitted_samples_are_left_out_unless_asked_for(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[1]))
    assert cache.hidden().sample.values.tolist() == [1]
    assert cache.stats().sizes["sample"] == cache.images.sizes["sample"] == 1
    assert cache.trajectory.sizes["sample"] == 1
    whole = cache.hidden(committed_only=False)
    assert whole.done.values.tolist() == [False, True]
    assert np.isnan(whole.values[0].astype("f4")).all()
    np.testing.assert_array_equal(bits(whole.values[1]), bits(cache.hidden().values[0]))
    assert cache.stats(committed_only=False).sizes["sample"] == 2


def test_empty_store_opens(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[]))
    assert cache.hidden().sizes["sample"] == cache.hidden("text").sizes["sample"] == 0
    assert cache.hidden().values.shape == (0, 2, 2, 3, 12, 70)
    assert cache.nbytes == 0
    assert "0 of 2 committed" in repr(cache)


def test_opening_reads_no_values(store, monkeypatch):
    monkeypatch.setattr(StoredArray, "__getitem__", lambda *_: pytest.fail("a value was read"))
    cache = open_cache(store)
    cache.hidden("image")
    cache.stats("image")
    assert cache.trajectory.sizes
    assert repr(cache)


def test_a_few_channels_are_read_without_the_tensor(tmp_path, monkeypatch):
    """Damage every chunk that holds other channels: a read of few channels must not notice."""
    schema = make_schema(channels=tuple(range(64)), width=80)
    store = record(tmp_path / "a.zarr", schema)
    path = store / "image/block_output/c/0/0/0/0/0/0"
    data = bytearray(path.read_bytes())
    chunk = 12 * 32 * 2 + 4
    cells_in_shard = len(cells(schema))
    index = np.frombuffer(data[-4 - 16 * 2 * cells_in_shard : -4], "<u8").reshape(cells_in_shard, 2, 2)
    for start, size in index[:, 1]:
        assert size == chunk
        data[int(start) + 7] ^= 0xFF
    path.write_bytes(data)
    hidden = open_cache(store).hidden
    expected = hidden_value(schema, 0, "image", "block_output", (1, 0, 2))
    few = hidden(channels=[0, 31, 7]).isel(sample=0, step=1, branch=0, block=2)
    np.testing.assert_array_equal(bits(few.values), bits(expected[:, [0, 31, 7]]))
    sliced = hidden().isel(sample=0, step=1, branch=0, block=2, channel=slice(4, 20))
    np.testing.assert_array_equal(bits(sliced.values), bits(expected[:, 4:20]))
    with pytest.raises(CacheError, match=r"unreadable data in image/block_output.*verify"):
        hidden().values  # noqa: B018


def test_dask_fuses_selections_into_the_read(store, monkeypatch):
    asked = []
    original = StoredArray.__getitem__

    def spy(self, key):
        values = original(self, key)
        asked.append(values.size)
        return values

    hidden = open_cache(store).hidden()
    monkeypatch.setattr(StoredArray, "__getitem__", spy)
    chosen = hidden.sel(sample=0, step=3, block=1, branch="cond", channel=slice(13, 22)).astype("f4")
    assert chosen.values.shape == (12, 10)
    assert sum(asked) == 120


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_indexing_is_numpys(complete_store, data):
    path = complete_store
    cache = open_cache(path)
    samples = data.draw(st.sampled_from([(0, 1), (1,), (1, 0)]))
    channels = data.draw(st.sampled_from([None, (5, 3, 69), (0, 1, 2, 3)]))
    array = StoredArray(path, cache.plans["image/block_output"], samples, channels)
    reference = cache.hidden().values[list(samples)]
    if channels is not None:
        reference = reference[..., list(channels)]
    assert array.shape == reference.shape
    listed = data.draw(st.integers(-1, 5))
    key = tuple(
        data.draw(st.lists(st.integers(-length, length - 1), min_size=1, max_size=4))
        if axis == listed
        else data.draw(
            st.one_of(st.slices(length), *([] if listed >= 0 else [st.integers(-length, length - 1)]))
        )
        for axis, length in enumerate(reference.shape[: data.draw(st.integers(1, 6))])
    )
    np.testing.assert_array_equal(bits(array[key]), bits(reference[key]))


def test_arrays_can_be_sent_to_another_process(store):
    hidden = open_cache(store).hidden()
    sent = pickle.loads(pickle.dumps(hidden))
    np.testing.assert_array_equal(bits(sent.values), bits(hidden.values))


def test_unknown_names_are_refused(store):
    cache = open_cache(store)
    for open_it in (cache.hidden, cache.stats):
        with pytest.raises(InputError, match=r"stream 'audio'; expected one of 'image', 'text'"):
            open_it("audio")
        with pytest.raises(InputError, match="site 'attn_output'; expected one of 'block_output'"):
            open_it("image", "attn_output")


def test_what_was_not_kept_is_refused(tmp_path):
    lean = make_schema(tensors=False, trajectory=None, image_height=None, image_width=None)
    cache = open_cache(record(tmp_path / "a.zarr", lean))
    with pytest.raises(CacheError, match="statistics only"):
        cache.hidden()
    with pytest.raises(CacheError, match="without images"):
        cache.images  # noqa: B018
    with pytest.raises(CacheError, match="without trajectory"):
        cache.trajectory  # noqa: B018
    with pytest.raises(CacheError, match="without statistics"):
        open_cache(record(tmp_path / "b.zarr", make_schema(stats=False))).stats()


def test_representation(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[0]))
    text = repr(cache)
    for part in (
        "tests/tiny",
        "1 of 2 committed",
        "bfloat16",
        "token 12 (3 x 4)",
        "channel 70 of 80",
        "on disk",
    ):
        assert part in text
    assert "WARNING" not in text
    assert cache._repr_html_().count("<tr>") == text.count("\n")


def summary_of(cache) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in repr(cache).splitlines()[1:])


def test_representation_of_statistics_alone(tmp_path):
    lines = summary_of(open_cache(record(tmp_path / "a.zarr", make_schema(tensors=False))))
    assert lines["kept"] == "stats, trajectory, images"
    assert lines["image/block_output"].startswith("statistics, float32 [sample 2, ")
    assert "token" not in lines["image/block_output"]


def test_representation_of_modulation(tmp_path):
    schema = make_schema(sites=("attn_gate", "block_output"))
    lines = summary_of(open_cache(record(tmp_path / "a.zarr", schema, samples=[])))
    assert lines["kept"] == "tensors, stats, modulation, trajectory, images"
    assert lines["image/attn_gate"].startswith("float32 [sample 2, ")
    assert "token" not in lines["image/attn_gate"]
    assert lines["image/block_output"].startswith("bfloat16 [")


def test_html_escapes_what_the_store_says(tmp_path):
    from ditscope.cache import CacheWriter, build_manifest

    schema = make_schema()
    manifest = build_manifest(schema, {"model": "<script>alert(1)</script>"})
    CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, manifest).close()
    assert "<script>" not in open_cache(tmp_path / "a.zarr")._repr_html_()


def test_plain_xarray_gives_the_same_values_and_labels(store):
    cache = open_cache(store)
    tree = xr.open_datatree(store, engine="zarr")
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


@pytest.mark.parametrize("what", ["nothing", "file", "folder", "other zarr", "address"])
def test_what_is_not_a_cache_is_refused(tmp_path, what):
    path = tmp_path / "a.zarr"
    if what == "file":
        path.write_text("hello")
    elif what == "folder":
        path.mkdir()
    elif what == "other zarr":
        zarr.create_group(path)
    elif what == "address":
        path = "s3://bucket/a.zarr"
    with pytest.raises((CacheError, InputError), match=r"found .*expected"):
        open_cache(path)


@pytest.mark.parametrize(
    "name",
    ["image/block_output/c/0/0/0/0/0/0", "text/stats/block_output/mean/c/1/0/0/0/0", "images/c/1/0/0/0"],
)
@pytest.mark.parametrize("how", ["missing", "short", "link"])
def test_a_store_cut_short_names_sample_and_file(store, tmp_path, name, how):
    path = store / name
    if how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        data = path.read_bytes()
        path.unlink()
        if how == "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
    sample = name.split("/c/")[1][0]
    found = r"\d+ bytes in" if how == "short" else "no file"
    with pytest.raises(CacheError, match=rf"found {found} {name} of committed sample {sample}"):
        open_cache(store)
    assert open_cache(store, check_files=False).committed == (0, 1)


@pytest.mark.parametrize("name", ["image/block_output", "images", "done", "trajectory/latents"])
def test_missing_array_metadata_is_refused(store, name):
    (store / name / "zarr.json").unlink()
    with pytest.raises(CacheError, match=rf"{name}/zarr\.json.*cut short"):
        open_cache(store)


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [2, 2, 2, 3, 12, 10**12]),
        ("data_type", "float16"),
        ("codecs", [{"name": "numcodecs.pickle"}]),
        ("dimension_names", None),
        ("fill_value", 0),
    ],
)
def test_altered_array_metadata_is_refused(store, field, value):
    _edit(store / "image/block_output/zarr.json", lambda content: content.update({field: value}))
    with pytest.raises(CacheError, match=f"{field} .*image/block_output"):
        open_cache(store)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["files"].update({"../../etc/passwd": [1, "0"]}),
        lambda entry: entry["files"].popitem(),
        lambda entry: entry.update(sample=1),
        lambda entry: entry.pop("files"),
        lambda entry: entry.update(files=[1]),
        lambda entry: entry.update(nonfinite={"image/block_output": "many"}),
    ],
)
def test_an_altered_ledger_entry_is_refused(store, change):
    _edit(store / "done/ledger/000000.json", change)
    with pytest.raises(CacheError, match=r"000000.json; expected"):
        open_cache(store)


def test_an_entry_of_a_sample_that_is_not_there_is_refused(store):
    (store / "done/ledger/000009.json").write_text("{}")
    with pytest.raises(CacheError, match="sample 9"):
        open_cache(store)


def test_an_altered_manifest_is_refused(store):
    def change(content):
        content["attributes"]["ditscope"]["config"]["model"] = "another"

    _edit(store / "zarr.json", change)
    with pytest.raises(CacheError, match="hash"):
        open_cache(store)


def test_deeply_nested_json_is_refused(store):
    (store / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(CacheError, match="not JSON"):
        open_cache(store)
