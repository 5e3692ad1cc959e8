import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_recording import bits, cells, files_below, fill, hidden_value, make_manifest, make_schema, record

from ditscope.cache import CacheWriter, SampleSpec, StreamSpec, build_manifest, open_cache, preflight, storage
from ditscope.errors import CacheError, ConfigMismatchError, InputError

SITE = ("image", "block_output")


@pytest.fixture
def writer(tmp_path, empty_store):
    schema = make_schema()
    path = shutil.copytree(empty_store, tmp_path / "a.zarr")
    with CacheWriter.create_or_resume(path, schema, make_manifest(schema)) as writer:
        yield writer


def _fill_and_commit(writer, samples):
    for sample in samples:
        fill(writer, sample)
        writer.commit(sample)


def _value(writer, cell=(0, 0, 0)):
    return hidden_value(writer.schema, 0, *SITE, cell)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("shard_bytes", [2**26, 9_000])
def test_what_is_put_is_what_is_read(tmp_path, dtype, compression, shard_bytes):
    schema = make_schema(dtype=dtype, compression=compression, shard_bytes=shard_bytes)
    cache = open_cache(record(tmp_path / "a.zarr", schema))
    for stream in schema.stream_names:
        hidden = cache.hidden(stream).values
        assert str(hidden.dtype) == dtype
        for sample, cell in itertools.product(range(2), cells(schema)):
            expected = hidden_value(schema, sample, stream, "block_output", cell)
            np.testing.assert_array_equal(bits(hidden[sample][cell][: len(expected)]), bits(expected))
            assert np.isnan(hidden[sample][cell][len(expected) :].astype("f4")).all()


def test_special_values_are_stored_bit_for_bit(tmp_path):
    patterns = np.resize(np.arange(2**16, dtype=np.uint16)[::97], (12, 70))

    def special(schema, sample, stream, site, cell):
        value = hidden_value(schema, sample, stream, site, cell)
        return patterns.view(value.dtype) if stream == "image" else value

    schema = make_schema()
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        fill(writer, 0, special)
        writer.commit(0)
    hidden = open_cache(tmp_path / "a.zarr").hidden().values
    np.testing.assert_array_equal(bits(hidden[0, 1, 1, 2]), patterns)


def test_each_shard_is_written_once_and_whole(tmp_path, monkeypatch):
    written = []
    original = storage.write_shard

    def spy(array, plan, shard, values):
        written.append((plan.path, shard))
        assert values.shape == plan.region_shape(shard)
        original(array, plan, shard, values)

    monkeypatch.setattr(storage, "write_shard", spy)
    schema = make_schema(shard_bytes=9_000)
    store = record(tmp_path / "a.zarr", schema)
    expected = [(p.path, s) for p in open_cache(store).plans.values() for i in (0, 1) for s in p.shards(i)]
    assert sorted(written) == sorted(expected)


def test_commit_of_one_sample_leaves_the_others_files_alone(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[1])
    before = {name: (store / name).stat() for name in files_below(store)}
    record(store, samples=[0])
    for name, status in before.items():
        after = (store / name).stat()
        assert (after.st_mtime_ns, after.st_ino, after.st_size) == (
            status.st_mtime_ns,
            status.st_ino,
            status.st_size,
        ), name


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
def test_every_folder_of_a_sample_is_synced_before_its_ledger_entry(tmp_path, synced):
    schema = make_schema(shard_bytes=9_000)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        created = len(synced)
        fill(writer, 0)
        writer.commit(0)
    committed = synced[created:]
    (entry,) = [i for i, path in enumerate(committed) if path.name.startswith(".000000.json")]
    store = tmp_path / "a.zarr"
    for name in next(iter(open_cache(store).ledger.values())).files:
        for folder in list((store / name).parents)[: name.count("/c/") + name.split("/c/")[1].count("/")]:
            assert folder in committed[:entry], folder
    assert store / "done" / "ledger" in committed[entry + 1 :]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, "audio", "block_output", 0, 0, 0), "stream 'audio'"),
        ((0, "image", "block_input", 0, 0, 0), "site 'block_input'"),
        ((0, *SITE, 2, 0, 0), "step position 2"),
        ((0, *SITE, 0, -1, 0), "branch position -1"),
        ((0, *SITE, 0, 0, 3), "block position 3"),
        ((2, *SITE, 0, 0, 0), "sample 2"),
        ((-1, *SITE, 0, 0, 0), "sample -1"),
    ],
)
def test_unknown_places_are_refused(writer, arguments, named):
    with pytest.raises(InputError, match=named):
        writer.put(*arguments, _value(writer))


def test_wrong_values_are_refused(writer):
    place = (0, *SITE, 0, 0, 0)
    value = _value(writer)
    with pytest.raises(InputError, match="dtype float32"):
        writer.put(*place, value.astype("f4"))
    for wrong in (value[:, :-1], value[:-1], value[None], value[0]):
        with pytest.raises(InputError, match="shape"):
            writer.put(*place, wrong)
    with pytest.raises(InputError, match="statistics mean"):
        writer.put_stats(*place, {"mean": np.zeros(70)})
    with pytest.raises(InputError, match="stream 'image'"):
        writer.put_token_mask(0, 0, "image", np.ones(12, bool))
    with pytest.raises(InputError, match="dtype int64"):
        writer.put_token_mask(0, 0, "text", np.ones(4, int))
    with pytest.raises(InputError, match="uint8"):
        writer.put_image(0, np.zeros((8, 6, 3)))


def test_a_cell_is_put_once(tmp_path):
    schema = make_schema(shard_bytes=1)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        writer.put(0, *SITE, 0, 1, 2, _value(writer))
        with pytest.raises(CacheError, match="step position 0, branch position 1, block position 2"):
            writer.put(0, *SITE, 0, 1, 2, _value(writer))


def test_the_caller_may_reuse_its_array(tmp_path):
    def same_array(schema, sample, stream, site, cell, buffers={}):  # noqa: B006
        value = hidden_value(schema, sample, stream, site, cell)
        buffer = buffers.setdefault(stream, np.empty_like(value))
        buffer[:] = value
        return buffer

    schema = make_schema(shard_bytes=1)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        fill(writer, 0, same_array)
        writer.commit(0)
    hidden = open_cache(tmp_path / "a.zarr").hidden().values
    for cell in cells(schema):
        np.testing.assert_array_equal(bits(hidden[0][cell]), bits(hidden_value(schema, 0, *SITE, cell)))


def test_commit_of_an_incomplete_sample_names_the_missing_cell(writer):
    for cell in cells(writer.schema):
        if cell != (1, 0, 2):
            writer.put(0, *SITE, *cell, _value(writer, cell))
    with pytest.raises(
        CacheError, match=r"image/block_output.*step position 1, branch position 0, block position 2"
    ):
        writer.commit(0)
    assert writer.committed == set()


def test_commit_names_a_shard_that_was_never_begun(tmp_path):
    schema = make_schema(shard_bytes=1)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        for cell in cells(schema)[:-1]:
            writer.put(0, *SITE, *cell, _value(writer, cell))
        with pytest.raises(CacheError, match="step position 1, branch position 1, block position 2"):
            writer.commit(0)


def test_missing_image_is_noticed(tmp_path, monkeypatch):
    schema = make_schema()
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        monkeypatch.setattr(writer, "put_image", lambda *_: None)
        fill(writer, 0)
        with pytest.raises(CacheError, match="images at sample 0"):
            writer.commit(0)


def test_committed_samples_are_closed(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    schema = make_schema()
    with CacheWriter.create_or_resume(store, schema, make_manifest(schema)) as writer:
        assert writer.committed == {0}
        for act in (writer.commit, writer.discard, lambda i: writer.put(i, *SITE, 0, 0, 0, _value(writer))):
            with pytest.raises(CacheError, match="committed sample 0"):
                act(0)


def test_discarded_sample_can_be_put_again(tmp_path):
    schema = make_schema(shard_bytes=9_000)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        for cell in cells(schema)[:5]:
            wrong = np.zeros_like(_value(writer))
            writer.put(0, *SITE, *cell, wrong)
        writer.discard(0)
        assert writer._budget.used == 0
        fill(writer, 0)
        writer.commit(0)
    reference = record(tmp_path / "b.zarr", schema, samples=[0])
    hidden = [open_cache(path).hidden().values for path in (tmp_path / "a.zarr", reference)]
    np.testing.assert_array_equal(bits(hidden[0]), bits(hidden[1]))


@pytest.mark.parametrize("kind", [OSError, MemoryError, KeyError])
def test_failure_in_the_background_surfaces_with_its_type(tmp_path, monkeypatch, kind):
    original = storage.write_shard

    def failing(array, plan, shard, values):
        if plan.kind == "tensors" and shard[0] == 1:
            raise kind("no luck")
        original(array, plan, shard, values)

    monkeypatch.setattr(storage, "write_shard", failing)
    schema = make_schema(shard_bytes=9_000)
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        fill(writer, 0)
        writer.commit(0)
        with pytest.raises(kind, match="no luck") as caught:
            _fill_and_commit(writer, [1])
        assert "sample 1" in caught.value.__notes__[0]
        with pytest.raises(kind):
            writer.put(1, *SITE, 0, 0, 0, _value(writer))
    assert open_cache(tmp_path / "a.zarr").committed == (0,)


def test_closed_writer_refuses(writer):
    writer.close()
    with pytest.raises(CacheError, match="closed writer"):
        writer.put(0, *SITE, 0, 0, 0, _value(writer))


def test_memory_stays_in_the_budget_whatever_the_number_of_samples(tmp_path):
    schema = make_schema(shard_bytes=9_000, samples=tuple(SampleSpec("a", i) for i in range(6)))
    budget = preflight.memory_budget(schema, 2, None)
    with CacheWriter.create_or_resume(
        tmp_path / "a.zarr", schema, make_manifest(schema), memory_budget=budget - 8_000
    ) as writer:
        for sample in range(6):
            fill(writer, sample)
            writer.commit(sample)
            assert writer._budget.used == 0
        assert 0 < writer._budget.peak <= writer._budget.limit < budget - 8_000


def test_a_budget_that_cannot_do_is_refused_first(tmp_path):
    schema = make_schema()
    with pytest.raises(InputError, match=r"memory_budget of 1 kB; expected at least .* batch size 1"):
        CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema), memory_budget=1000)
    assert not (tmp_path / "a.zarr").exists()


def test_larger_batches_need_more_memory():
    small, large = (preflight.memory_budget(make_schema(batch_size=n), 2, None) for n in (1, 2))
    assert large > small


def test_out_of_order_puts_that_outgrow_the_budget_are_refused_not_stuck(tmp_path):
    schema = make_schema(
        streams=(StreamSpec("image", 12, 3, 4),),
        stats=False,
        trajectory=None,
        image_height=None,
        image_width=None,
        samples=tuple(SampleSpec("a", i) for i in range(40)),
    )
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        value = _value(writer)
        outgrown = writer._budget.limit // writer._plans["image/block_output"].largest_region_bytes
        for sample in range(outgrown):
            writer.put(sample, *SITE, 0, 0, 0, value)
        with pytest.raises(InputError, match="raise memory_budget"):
            writer.put(outgrown, *SITE, 0, 0, 0, value)


@pytest.mark.parametrize("what", ["folder", "file", "other zarr", "broken json"])
def test_a_path_that_is_not_a_cache_is_refused_and_untouched(tmp_path, what):
    import zarr

    path = tmp_path / "a.zarr"
    if what == "file":
        path.write_text("hello")
    elif what == "other zarr":
        zarr.create_group(path)
    else:
        path.mkdir()
        (path / ("zarr.json" if what == "broken json" else "notes.txt")).write_text("{oh no")
    before = files_below(tmp_path)
    schema = make_schema()
    with pytest.raises(CacheError, match="expected"):
        CacheWriter.create_or_resume(path, schema, make_manifest(schema))
    assert files_below(tmp_path) == before


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    assert open_cache(record(tmp_path / "a.zarr")).complete


def test_another_configuration_is_refused_by_its_fields(store):
    before = files_below(store)
    schema = make_schema(batch_size=2)
    manifest = build_manifest(schema, {"model": "tests/other"})
    with pytest.raises(
        ConfigMismatchError, match=r"schema.batch_size: found 1, expected 2.*config.model"
    ) as caught:
        CacheWriter.create_or_resume(store, schema, manifest)
    assert "'tests/other'" in str(caught.value)
    assert files_below(store) == before


def test_a_manifest_of_another_schema_is_refused(tmp_path):
    with pytest.raises(InputError, match="another schema"):
        CacheWriter.create_or_resume(tmp_path / "a", make_schema(), make_manifest(make_schema(batch_size=2)))


def test_a_short_disk_is_refused_with_figures(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    schema = make_schema()
    with pytest.raises(CacheError, match=r"1 kB free.*room for .* files for 2 samples"):
        CacheWriter.create_or_resume(tmp_path / "deep" / "a.zarr", schema, make_manifest(schema))
    assert list(tmp_path.iterdir()) == []


def test_only_missing_samples_need_room(tmp_path, monkeypatch):
    store = record(tmp_path / "a.zarr")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    record(store)


def test_two_writers_at_once_are_refused(writer):
    with pytest.raises(CacheError, match="one writer at a time"):
        CacheWriter.create_or_resume(writer.path, writer.schema, make_manifest(writer.schema))


def test_nonfinite_values_are_counted_with_and_without_statistics(tmp_path):
    def infinite(schema, sample, stream, site, cell):
        value = hidden_value(schema, sample, stream, site, cell).copy()
        if (sample, stream, cell) == (1, "image", (0, 1, 0)):
            value[:3, 5] = np.nan
            value[4, 6] = np.inf
        return value

    for stats in (True, False):
        schema = make_schema(stats=stats)
        path = tmp_path / f"{stats}.zarr"
        with CacheWriter.create_or_resume(path, schema, make_manifest(schema)) as writer:
            for sample in range(2):
                fill(writer, sample, infinite)
                writer.commit(sample)
        (row,) = open_cache(path).nonfinite.to_dict("records")
        assert row == {"sample": 1, "stream": "image", "site": "block_output", "count": 4}


def test_statistics_only_store_has_no_hidden_state_files(tmp_path):
    schema = make_schema(tensors=False)
    store = record(tmp_path / "a.zarr", schema)
    assert not (store / "image" / "block_output").exists()
    with (
        CacheWriter.create_or_resume(store, schema, make_manifest(schema)) as writer,
        pytest.raises(InputError, match="tensors=True"),
    ):
        writer.put(0, *SITE, 0, 0, 0, _value(writer))
