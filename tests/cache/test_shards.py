import pytest
from store_recording import (
    addresses,
    fill,
    hidden_value,
    make_manifest,
    make_schema,
    record,
)

from ditscope.cache import (
    CacheWriter,
    Reading,
    SampleSpec,
    StreamSpec,
    open_cache,
    preflight,
    storage,
)
from ditscope.errors import InputError


def reading_of(writer, sample):
    """A hidden state at the first address."""
    address = addresses(writer.schema)[0]
    return Reading(address, [sample], hidden_value(writer.schema, sample, address)[None])


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
            fill(writer, 1)
            writer.commit(1)
        assert "sample 1" in caught.value.__notes__[0]
        with pytest.raises(kind):
            writer.put(reading_of(writer, 1))
    assert open_cache(tmp_path / "a.zarr").committed == (0,)


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
        outgrown = writer._budget.limit // writer._plans["image/block_output"].largest_region_bytes
        for sample in range(outgrown):
            writer.put(reading_of(writer, sample))
        with pytest.raises(InputError, match="raise memory_budget"):
            writer.put(reading_of(writer, outgrown))
