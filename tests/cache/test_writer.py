import dataclasses
import itertools
import pickle

import ml_dtypes
import numpy as np
import pytest
from store_recording import (
    TEXT_TOKENS,
    addresses,
    at,
    bits,
    fill,
    hidden_value,
    make_manifest,
    make_schema,
    open_writer,
    put,
    record,
    statistics_of,
)

from ditscope.cache import (
    Address,
    CacheWriter,
    Reading,
    SampleSpec,
    StreamSpec,
    files,
    open_cache,
    verify,
)
from ditscope.errors import CacheError, InputError, UnsupportedError

SITE = ("image", "block_output")


FIRST = Address("image", "block_output", 1, "cond", 0)


def reading_of(writer, address=FIRST, samples=(0,)):
    """Hidden states alone."""
    hidden = np.stack([hidden_value(writer.schema, sample, FIRST) for sample in samples])
    return Reading(address, samples, hidden)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("shard_bytes", [2**26, 9_000])
def test_what_is_put_is_what_is_read(tmp_path, dtype, compression, shard_bytes):
    schema = make_schema(dtype=dtype, compression=compression, shard_bytes=shard_bytes)
    cache = open_cache(record(tmp_path / "a.zarr", schema))
    for stream in schema.stream_names:
        hidden = cache.hidden(stream).load()
        assert str(hidden.dtype) == dtype
        for sample, address in itertools.product(range(2), addresses(schema, stream)):
            expected = hidden_value(schema, sample, address)
            stored = hidden.sel(sample=sample, **at(address)).values
            np.testing.assert_array_equal(bits(stored[: len(expected)]), bits(expected))
            assert np.isnan(stored[len(expected) :].astype("f4")).all()


def test_samples_that_are_put_together_are_stored_as_if_put_one_by_one(tmp_path):
    schema = make_schema(sites=("attn_gate", "block_output"), batch_size=2)
    apart = open_cache(record(tmp_path / "apart.zarr", schema))
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        for stream in schema.stream_names:
            for branch in schema.branches if stream == "text" else ():
                writer.put_token_masks([1, 0], stream, branch, np.ones((2, TEXT_TOKENS), dtype=bool))
            for address in [a for site in schema.site_names for a in addresses(schema, stream, site)]:
                hidden = np.stack([hidden_value(schema, sample, address) for sample in (1, 0)])
                writer.put(Reading(address, [1, 0], hidden))
                if address.site == "block_output":
                    writer.put(
                        Reading(address, [1, 0], statistics=np.stack(list(map(statistics_of, hidden))))
                    )
        for sample in range(2):
            trajectory = apart.trajectory.isel(sample=sample)
            writer.put_trajectory(
                sample,
                latents=trajectory["latents"].values,
                transformer_output=trajectory["transformer_output"].values,
            )
            writer.put_image(sample, apart.images[sample].values)
            writer.commit(sample)
    for entry in apart.ledger.values():
        assert open_cache(tmp_path / "a.zarr").ledger[entry.sample].files == entry.files


def test_special_values_are_stored_bit_for_bit(tmp_path):
    patterns = np.resize(np.arange(2**16, dtype=np.uint16)[::97], (12, 70))

    def special(schema, sample, address):
        value = hidden_value(schema, sample, address)
        return patterns.view(value.dtype) if address.stream == "image" else value

    schema = make_schema()
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        fill(writer, 0, special)
        writer.commit(0)
    hidden = open_cache(tmp_path / "a.zarr").hidden().values
    np.testing.assert_array_equal(bits(hidden[0, 1, 1, 2]), patterns)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"stream": "audio"}, "stream 'audio'; expected one of 'image', 'text'"),
        ({"site": "block_input"}, "site 'block_input'; expected one of 'block_output'"),
        ({"step": 2}, "step 2; expected one of 1, 3"),
        ({"branch": "both"}, "branch 'both'; expected one of 'cond', 'uncond'"),
        ({"block": 3}, "block 3; expected one of 0, 1, 4"),
        ({"block": -1}, "block -1"),
    ],
)
def test_unknown_labels_are_refused(writer, labels, named):
    with pytest.raises(InputError, match=named):
        writer.put(reading_of(writer, dataclasses.replace(FIRST, **labels)))


@pytest.mark.parametrize("sample", [2, -1])
def test_unknown_samples_are_refused(writer, sample):
    reading = dataclasses.replace(reading_of(writer), samples=[sample])
    with pytest.raises(InputError, match=f"sample {sample}; expected 0 to 1"):
        writer.put(reading)


def test_the_caller_may_reuse_its_array(tmp_path):
    def same_array(schema, sample, address, buffers={}):  # noqa: B006
        value = hidden_value(schema, sample, address)
        buffer = buffers.setdefault(address.stream, np.empty_like(value))
        buffer[:] = value
        return buffer

    schema = make_schema(shard_bytes=1)
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        fill(writer, 0, same_array)
        writer.commit(0)
    hidden = open_cache(tmp_path / "a.zarr").hidden().load()
    for address in addresses(schema):
        stored = hidden.sel(sample=0, **at(address)).values
        np.testing.assert_array_equal(bits(stored), bits(hidden_value(schema, 0, address)))


def test_committed_samples_are_closed(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    with open_writer(store) as writer:
        assert writer.committed == {0}
        for act in (writer.commit, writer.discard, lambda i: writer.put(reading_of(writer, samples=[i]))):
            with pytest.raises(CacheError, match="committed sample 0"):
                act(0)


def test_closed_writer_refuses(writer):
    writer.close()
    with pytest.raises(CacheError, match="closed writer"):
        writer.put(reading_of(writer))


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    assert open_cache(record(tmp_path / "a.zarr")).complete


def test_a_manifest_of_another_schema_is_refused(tmp_path):
    with pytest.raises(InputError, match="another schema"):
        CacheWriter.create_or_resume(tmp_path / "a", make_schema(), make_manifest(make_schema(batch_size=2)))


def test_nonfinite_values_are_counted_with_and_without_statistics(tmp_path):
    odd = Address("image", "block_output", 1, "uncond", 0)

    def infinite(schema, sample, address):
        value = hidden_value(schema, sample, address).copy()
        if (sample, address) == (1, odd):
            value[:3, 5] = np.nan
            value[4, 6] = np.inf
        return value

    for stats in (True, False):
        schema = make_schema(stats=stats)
        path = tmp_path / f"{stats}.zarr"
        with open_writer(path, schema) as writer:
            for sample in range(2):
                fill(writer, sample, infinite)
                writer.commit(sample)
        found = open_cache(path).nonfinite
        (row,) = found[found["stream"] == "image"].to_dict("records")
        # Without statistics nothing says which tokens of the text are padding, and that is NaN.
        assert (found["stream"] == "text").any() == (not stats)
        assert row == {"sample": 1, "stream": "image", "site": "block_output", "count": 4}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kept", [{}, {"stats": False}, {"tensors": False}], ids=["both", "tensors", "stats"])
def test_values_at_the_limit_are_counted_by_block_and_channel(tmp_path, kept, dtype):
    schema = make_schema(sites=("attn_gate", "block_output"), dtype=dtype, **kept)
    most = float(ml_dtypes.finfo(dtype).max)

    def clipped(schema, sample, address):
        value = hidden_value(schema, sample, address).copy()
        if sample == 1 and address.block == 4 and address.stream == "image":
            value[..., 5] = most if address.site == "attn_gate" else value[..., 5]
            if address.site == "block_output":
                value[:3, 5], value[4, 6], value[5, 6] = most, -most, np.inf
        return value

    with open_writer(tmp_path / "a.zarr", schema) as writer:
        for sample in range(2):
            fill(writer, sample, clipped)
            writer.commit(sample)
    cache = open_cache(tmp_path / "a.zarr")
    visits = len(schema.steps) * len(schema.branches)
    found = cache.saturated
    assert found.drop(columns="count").to_numpy().tolist() == [
        [1, "image", "attn_gate", 4, 8],  # the channels are 3, 4, ...
        [1, "image", "block_output", 4, 8],
        [1, "image", "block_output", 4, 9],
    ]
    assert found["count"].tolist() == [visits, 3 * visits, visits]
    assert f"{5 * visits} values at the limit of {dtype} in 3 channels" in repr(cache)


def test_statistics_only_store_has_no_hidden_state_files(tmp_path):
    schema = make_schema(tensors=False)
    store = record(tmp_path / "a.zarr", schema)
    assert not (store / "image/block_output/hidden").exists()
    with (
        open_writer(store, schema) as writer,
        pytest.raises(InputError, match="tensors=True"),
    ):
        writer.put(reading_of(writer))


def test_two_writers_at_once_are_refused(writer):
    with pytest.raises(CacheError, match="one writer at a time"):
        open_writer(writer.path)


def test_samples_that_are_there_keep_their_positions_and_are_not_recorded_again(store):
    before = (store / "done/ledger/journal.jsonl").read_bytes()
    with open_writer(store, samples=[SampleSpec("ein grünes Dreieck", 7, columns={"class": 1})]) as writer:
        assert writer.positions == [1]
        assert writer.committed == {0, 1}
    assert (store / "done/ledger/journal.jsonl").read_bytes() == before
    for path in (store, store.with_name("new.zarr")):
        with pytest.raises(InputError, match="'a' with seed 0 more than once"):
            open_writer(path, samples=[SampleSpec("a", 0), SampleSpec("a", 0)])
    assert (store / "done/ledger/journal.jsonl").read_bytes() == before
    assert not path.exists()


@pytest.mark.parametrize("stats", [True, False])
def test_a_commit_whose_ledger_line_fails_can_be_made_again(tmp_path, monkeypatch, stats):
    def extreme(schema, sample, address):
        value = hidden_value(schema, sample, address).copy()
        if address.stream == "image":
            value[..., 0, 5], value[..., 1, 5] = np.nan, ml_dtypes.finfo(value.dtype).max
        return value

    schema = make_schema(stats=stats)
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        fill(writer, 0, extreme)
        with monkeypatch.context() as patch:
            patch.setattr(files, "append", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                writer.commit(0)
        assert writer.committed == set()
        assert open_cache(tmp_path / "a.zarr").committed == ()
        writer.commit(0)
    cache = open_cache(tmp_path / "a.zarr", check_files=True)
    assert cache.committed == (0,)
    visits = len(addresses(schema))
    assert cache.ledger[0].nonfinite["image/block_output"] == visits
    counts = cache.ledger[0].saturated["image/block_output"]
    assert sum(count for channels in counts.values() for count in channels.values()) == visits
    assert verify(cache).ok


def test_a_dropped_sample_is_recorded_again_with_the_same_values_alone(store):
    with open_writer(store) as writer:
        entry = writer.drop(0)
        assert entry.sample == 0
        assert open_cache(store).committed == (1,)
        assert not list(store.rglob("c.0.0.0*"))
        with pytest.raises(CacheError, match="sample 0, which is not committed"):
            writer.drop(0)
        fill(writer, 0, lambda *at: hidden_value(*at) + hidden_value(*at).dtype.type(1))
        with pytest.raises(CacheError, match="other values of sample 0 than were recorded on"):
            writer.commit(0, like=entry)
        assert writer.committed == {1}
        writer.discard(0)
        fill(writer, 0)
        writer.commit(0, like=entry)
    assert open_cache(store).ledger[0].files == entry.files
    assert verify(store).ok


def test_of_samples_committed_together_those_before_one_with_other_values_are(store):
    with open_writer(store) as writer:
        before = {sample: writer.drop(sample) for sample in (0, 1)}
        fill(writer, 0)
        fill(writer, 1, lambda *at: hidden_value(*at) + hidden_value(*at).dtype.type(1))
        with pytest.raises(CacheError, match="other values of sample 1 than were recorded on"):
            writer.commit_together({0: None, 1: None}, like=before)
        assert writer.committed == {0}
        assert open_cache(store).committed == (0,)
        writer.discard(1)
        fill(writer, 1)
        writer.commit_together({1: None}, like=before)
    assert verify(store).ok


def test_one_of_several_samples_that_lacks_a_value_keeps_all_from_being_committed(writer):
    fill(writer, 0)
    put(writer, 1, addresses(writer.schema)[0], hidden_value(writer.schema, 1, addresses(writer.schema)[0]))
    with pytest.raises(CacheError, match="sample 1"):
        writer.commit_together({0: None, 1: None})
    assert writer.committed == set()
    writer.commit(0)
    assert open_cache(writer.path).committed == (0,)


def test_an_open_store_is_not_pickled(writer):
    with pytest.raises(UnsupportedError, match="an open store"):
        pickle.dumps(writer)


def test_token_ids_are_stored(tmp_path):
    image = StreamSpec("image", 12, 3, 4, random_tokens=5)
    schema = make_schema(streams=(image,), trajectory=None, image_height=None, image_width=None)
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        with pytest.raises(InputError, match="image/token_id"):
            writer.put_token_ids(0, "image", np.arange(5))
        writer.put_token_ids(0, "image", np.array([11, 3, 5, 0, 7], "i4"))
        for address in addresses(schema):
            put(writer, 0, address, hidden_value(schema, 0, address)[:5])
        writer.commit(0)
    assert open_cache(tmp_path / "a.zarr").hidden()["token_id"].values.tolist() == [[11, 3, 5, 0, 7]]


def test_mixed_samples_of_one_batch_keep_their_own_files(tmp_path):
    """Sample 1 is put before sample 0, both open at once."""
    with open_writer(tmp_path / "a.zarr") as writer:
        for sample in (1, 0):
            fill(writer, sample)
        for sample in (0, 1):
            writer.commit(sample)
    one_by_one = open_cache(record(tmp_path / "b.zarr")).ledger
    assert {i: e.files for i, e in open_cache(tmp_path / "a.zarr").ledger.items()} == {
        i: e.files for i, e in one_by_one.items()
    }
