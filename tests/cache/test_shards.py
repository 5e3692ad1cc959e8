import threading

import numpy as np
import pytest
from array_files import random_values, write_array
from store_recording import (
    addresses,
    bits,
    fill,
    hidden_value,
    make_schema,
    open_writer,
    record,
)

from ditscope.cache import Reading, SampleSpec, StepSpec, StreamSpec, files, open_cache, shards
from ditscope.cache.layout import ArrayPlan, plan_arrays
from ditscope.cache.shards import Buffers, FileBuffer
from ditscope.errors import InputError
from patience import SECONDS

LEAN = {"stats": False, "trajectory": None, "image_height": None, "image_width": None}


def reading_of(writer, sample):
    """A hidden state at the first address."""
    address = addresses(writer.schema)[0]
    return Reading(address, [sample], hidden_value(writer.schema, sample, address)[None])


def test_buffers_are_filled_again_and_never_beyond_the_limit():
    buffers = Buffers(100)
    first = buffers.take(60)
    with pytest.raises(
        InputError, match=r"60 B of unfinished files .* 60 B more .*at most 100 B.*memory_budget"
    ):
        buffers.take(60)
    buffers.give_back(first, pending=False)
    assert buffers.take(60) is first
    buffers.give_back(first, pending=False)
    assert len(buffers.take(90)) == 90  # what is kept for another size makes room
    assert (buffers.used, buffers.peak) == (90, 90)


@pytest.fixture
def hurried(monkeypatch):
    """Buffers as when much memory is in use; what waits does so until something is there."""
    monkeypatch.setattr(shards, "_ENOUGH", 50)
    monkeypatch.setattr(shards, "_SMALL", 20)
    monkeypatch.setattr(shards, "_A_MOMENT", SECONDS)


def test_what_is_about_to_be_free_is_taken_before_new_memory(hurried):
    buffers = Buffers(1000)
    first = buffers.take(30)
    buffers.take(30)
    buffers.submitted(first)
    taking: list[np.ndarray] = []
    waiting = threading.Thread(target=lambda: taking.append(buffers.take(30)))
    writing = threading.Thread(target=buffers.give_back, args=[first], kwargs={"pending": True})
    waiting.start()
    writing.start()
    waiting.join(SECONDS)
    assert taking[0] is first
    assert buffers.used == 60


def test_what_is_not_about_to_be_free_is_not_waited_for(hurried, monkeypatch):
    buffers = Buffers(1000)
    first = buffers.take(60)
    waited: list[bool] = []

    def wait_for(found, seconds):
        waited.append(not found())
        return found()

    monkeypatch.setattr(buffers._changed, "wait_for", wait_for)
    buffers.take(60)  # nothing is on its way
    buffers.submitted(first)
    buffers.submitted(buffers.take(10))
    buffers.take(10)  # new memory for this takes less than a moment
    buffers.take(30)  # another size is on its way
    assert not any(waited)
    buffers.take(60)
    assert waited[-1]
    assert buffers.used == 230  # it has waited in vain


def test_other_memory_is_counted_where_it_leaves_files_what_they_need():
    buffers = Buffers(100, least=30)
    assert not buffers.reserve(71)
    first = buffers.take(40)
    buffers.give_back(first, pending=False)
    assert buffers.reserve(70)  # what is kept to be filled again makes room
    assert not buffers.reserve(1)
    assert (buffers.used, buffers.peak) == (70, 70)
    assert len(buffers.take(30)) == 30
    with pytest.raises(InputError, match="100 B of unfinished files"):
        buffers.take(1)
    buffers.release(70)
    kept = buffers.take(70)
    assert not buffers.reserve(1)  # none is there now, whatever may be
    assert len(kept) == 70


def test_who_asks_for_more_waits_until_a_file_is_on_disk():
    buffers, taken = Buffers(100), []
    first = buffers.take(60)
    buffers.submitted(first)
    waiting = threading.Thread(target=lambda: taken.append(buffers.take(70)))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    buffers.give_back(first, pending=True)
    waiting.join(SECONDS)
    assert len(taken[0]) == 70
    assert buffers.peak == 70


def test_who_waits_is_told_when_the_last_file_under_way_was_not_enough():
    buffers, errors = Buffers(100), []
    kept, under_way = buffers.take(50), buffers.take(20)
    buffers.submitted(under_way)

    def ask():
        with pytest.raises(InputError) as error:
            buffers.take(70)
        errors.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    buffers.give_back(under_way, pending=True)
    waiting.join(SECONDS)
    assert errors
    assert len(kept) == 50


def test_a_file_is_complete_with_its_last_value_and_has_what_was_put():
    plan = plan_arrays(make_schema(shard_bytes=9_000))["image/block_output/hidden"]
    values, shard = random_values(plan)[0], plan.shards[2]
    buffer = FileBuffer(plan, 0, shard, Buffers(2**20))
    for block in range(3):
        assert not buffer.complete
        assert not buffer.has((1, 0, block))
        buffer.put((1, 0, block), values[1, 0, block], np.copyto)
        assert buffer.has((1, 0, block))
    assert buffer.complete


def test_what_memory_held_before_is_in_no_file(tmp_path):
    """Seven steps in files of four: the last file has room for one step that is not there."""
    schema = make_schema(steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(7)), shard_bytes=24_000)
    plan = plan_arrays(schema)["image/block_output/statistics/over_tokens"]
    assert plan.shape[0] % plan.shard[0]
    write_array(tmp_path, plan, random_values(plan))
    for path in (tmp_path / plan.path).glob("c.*"):
        assert b"\xab" * 12 not in path.read_bytes()


def test_files_of_a_mebibyte_go_past_the_page_cache_and_smaller_ones_through_it(tmp_path, monkeypatch):
    cached, original = {}, files.write_new

    def spy(path, data, **options):
        nbytes = original(path, data, **options)
        cached[nbytes >= 2**20] = options["cached"]
        return nbytes

    monkeypatch.setattr(files, "write_new", spy)
    for width in (2**14, 2**19):
        plan = ArrayPlan(
            "image/a/hidden", "tensors", ("step", "channel"), (1, width), (1, width), (1, width), "float32"
        )
        write_array(tmp_path / str(width), plan, random_values(plan))
    assert cached == {False: True, True: False}


def test_each_file_is_written_once_under_its_name_and_whole(tmp_path, monkeypatch):
    written = {}
    original = files.write_new

    def spy(path, data, **options):
        assert path not in written
        written[path] = bytes(data)
        original(path, data, **options)

    schema = make_schema(shard_bytes=9_000)
    record(tmp_path / "a.zarr", schema, samples=[])
    monkeypatch.setattr(files, "write_new", spy)
    store = record(tmp_path / "a.zarr", schema)
    expected = [
        plan.file_name(sample, shard)
        for plan in open_cache(store).plans.values()
        for sample in (0, 1)
        for shard in plan.shards
    ]
    assert sorted(str(path.relative_to(store)) for path in written) == sorted(expected)
    assert all(path.read_bytes() == data for path, data in written.items())


@pytest.mark.parametrize("kind", [OSError, MemoryError, KeyError])
def test_failure_in_the_background_surfaces_with_its_type(tmp_path, monkeypatch, kind):
    original = files.write_new

    def failing(path, data, **options):
        if path.name.startswith("c.1.") and "hidden" in str(path):
            raise kind("no luck")
        original(path, data, **options)

    monkeypatch.setattr(files, "write_new", failing)
    with open_writer(tmp_path / "a.zarr", make_schema(shard_bytes=9_000)) as writer:
        fill(writer, 0)
        writer.commit(0)
        with pytest.raises(kind, match="no luck") as caught:
            fill(writer, 1)
            writer.commit(1)
        assert "sample 1: committed samples are safe" in caught.value.__notes__[0]
        with pytest.raises(kind):
            writer.put(reading_of(writer, 1))
    monkeypatch.undo()
    assert open_cache(tmp_path / "a.zarr").committed == (0,)
    record(tmp_path / "a.zarr", make_schema(shard_bytes=9_000))
    expected = open_cache(record(tmp_path / "b.zarr", make_schema(shard_bytes=9_000))).hidden().values
    np.testing.assert_array_equal(bits(open_cache(tmp_path / "a.zarr").hidden().values), bits(expected))


def test_other_memory_waits_for_files_under_way_if_it_is_told_to():
    buffers = Buffers(100, least=60)
    first = buffers.take(80)
    buffers.submitted(first)
    assert not buffers.reserve(30)
    assert not buffers.reserve(50, wait=True)  # which would leave files less than they need
    later = threading.Timer(0.1, lambda: buffers.give_back(first, pending=True))
    later.start()
    assert buffers.reserve(30, wait=True)
    later.join()
    assert (buffers.used, buffers.peak) == (30, 80)
    taken = buffers.take(70)
    assert not buffers.reserve(5, wait=True)  # nothing is under way for which to wait
    assert len(taken) == 70


def test_memory_stays_in_the_budget_whatever_the_number_of_samples(tmp_path):
    schema = make_schema(shard_bytes=9_000)
    specs, budget = [SampleSpec("a", i) for i in range(6)], 60_000
    with open_writer(tmp_path / "a.zarr", schema, specs, memory_budget=budget) as writer:
        for sample in range(6):
            fill(writer, sample)
            writer.commit(sample)
            assert 0 < writer.buffers.used <= writer.buffers.peak <= budget
    assert sum(sum(plan.file_bytes) for plan in writer._plans.values()) * 6 > 4 * budget


def test_a_buffer_is_filled_again_while_its_file_is_synced(tmp_path, monkeypatch):
    schema = make_schema(streams=(StreamSpec("image", 12, 3, 4),), **LEAN)
    (plan,) = plan_arrays(schema).values()
    assert plan.shards_per_sample == 1
    syncing, go, sync = threading.Event(), threading.Event(), files.sync

    def slow(path):
        syncing.set()
        assert go.wait(SECONDS)
        sync(path)

    monkeypatch.setattr(shards, "_SMALL", 0)
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        monkeypatch.setattr(files, "sync", slow)
        fill(writer, 0)
        assert syncing.wait(SECONDS)
        writer.put(reading_of(writer, 1))
        assert writer.buffers.used == plan.largest_file_bytes
        go.set()
        writer.commit(0)
    assert open_cache(tmp_path / "a.zarr").committed == (0,)


def test_what_fails_as_it_is_synced_is_not_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_SMALL", 0)
    with open_writer(tmp_path / "a.zarr") as writer:
        fill(writer, 0)
        writer.commit(0)
        with monkeypatch.context() as patch:
            patch.setattr(files, "sync", lambda path: (_ for _ in ()).throw(OSError(5, "no luck")))
            with pytest.raises(OSError, match="no luck"):
                fill(writer, 1)
                writer.commit(1)
        with pytest.raises(OSError, match="no luck"):
            writer.commit(1)
    assert open_cache(tmp_path / "a.zarr").committed == (0,)


def test_out_of_order_puts_that_outgrow_the_budget_are_refused_not_stuck(tmp_path):
    schema = make_schema(streams=(StreamSpec("image", 12, 3, 4),), **LEAN)
    (plan,) = plan_arrays(schema).values()
    specs, fit = [SampleSpec("a", i) for i in range(9)], 6
    with open_writer(
        tmp_path / "a.zarr", schema, specs, memory_budget=plan.largest_file_bytes * fit
    ) as writer:
        for sample in range(fit):
            writer.put(reading_of(writer, sample))
        with pytest.raises(InputError, match="raise memory_budget"):
            writer.put(reading_of(writer, fit))


def test_seconds_are_counted_by_stage(tmp_path):
    with open_writer(tmp_path / "a.zarr") as writer:
        fill(writer, 0)
        writer.commit(0)
        assert set(writer.spent) == {"copy", "encode", "write and sync", "commit"}
        assert all(seconds > 0 for seconds in writer.spent.values())
