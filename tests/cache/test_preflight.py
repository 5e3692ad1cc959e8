import dataclasses
import math
import shutil

import pytest
from store_recording import (
    files_below,
    make_manifest,
    make_schema,
    open_writer,
    record,
)

from ditscope.cache import (
    BlockSpec,
    CacheWriter,
    SampleSpec,
    StepSpec,
    StreamSpec,
    build_manifest,
    preflight,
)
from ditscope.cache.layout import plan_arrays
from ditscope.errors import CacheError, ConfigMismatchError, InputError


def test_a_budget_that_cannot_do_is_refused_first(tmp_path):
    schema = make_schema()
    with pytest.raises(InputError, match=r"memory_budget of 1 kB; expected at least .* batch size 1"):
        CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema), memory_budget=1000)
    assert not (tmp_path / "a.zarr").exists()


def test_larger_batches_need_more_memory():
    for batch in (1, 2):
        schema = make_schema(batch_size=batch)
        plans = plan_arrays(schema)
        least = next(b for b in range(0, 10**6, 1000) if _fits(schema, plans, b))
        writable = make_schema(batch_size=batch)
        assert _fits(writable, plans, least + 1000)
        assert not _fits(make_schema(batch_size=batch + 1), plans, least)


def test_compressed_chunks_on_their_way_are_counted_and_what_others_need_beside():
    least = {}
    for compression in (None, "zstd"):
        schema = make_schema(compression=compression)
        plans = plan_arrays(schema)
        least[compression] = preflight.least_memory(plans, 1) + preflight.encoding_memory(plans)
        for beside in (0, 500):
            preflight.check_memory(schema, plans, 1, least[compression] + beside, beside)
            with pytest.raises(InputError, match="memory_budget"):
                preflight.check_memory(schema, plans, 1, least[compression] + beside - 1, beside)
    largest = max(math.prod(p.chunk) * p.numpy_dtype.itemsize for p in plans.values() if p.compression)
    assert preflight.encoding_memory(plans) == 2 * (largest + 16)
    assert preflight.encoding_memory(plan_arrays(make_schema())) == 0


def _fits(schema, plans, budget):
    try:
        preflight.check_memory(schema, plans, 8, budget)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(("width", "n_steps", "n_files"), [(64, 4, 1), (1024, 4, 4), (1024, 128, 8)])
def test_a_sample_has_several_files_unless_they_are_small(width, n_steps, n_files):
    """Of 4 MiB at least and of 64 MiB at most: samples of 1, 16 and 512 MiB."""
    own = make_schema(
        dtype="float32",
        streams=(StreamSpec("image", 1024, 32, 32),),
        channels=tuple(range(width)),
        width=width,
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(n_steps)),
        branches=("cond",),
        blocks=(BlockSpec(0, "double.0", "double"),),
    )
    plan = plan_arrays(dataclasses.replace(own, shard_bytes=preflight.fitting_shard_bytes(own)))
    assert plan["image/block_output/hidden"].shards_per_sample == n_files


def test_files_become_smaller_until_the_usual_memory_does():
    large = make_schema(
        streams=(StreamSpec("image", 4096, 64, 64),), channels=tuple(range(3072)), width=3072, batch_size=8
    )
    target = preflight.fitting_shard_bytes(large)
    assert target < large.shard_bytes
    for size, fits in ((target, True), (target * 2, False)):
        own = dataclasses.replace(large, shard_bytes=size)
        assert (_fits(own, plan_arrays(own), preflight.MEMORY_BUDGET)) == fits


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


def test_a_short_disk_is_refused_with_figures(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CacheError, match=r"1 kB free.*room for .* files for 2 samples"):
        open_writer(tmp_path / "deep" / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_only_missing_samples_need_room(tmp_path, monkeypatch):
    store = record(tmp_path / "a.zarr")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    record(store)
    with pytest.raises(CacheError, match="0 B free.*files for 1 samples"):
        record(store, specs=[SampleSpec("new", 1)])
