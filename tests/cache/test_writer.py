import dataclasses
import itertools

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
    record,
    statistics_of,
)

from ditscope.cache import (
    Address,
    CacheWriter,
    Reading,
    open_cache,
)
from ditscope.errors import CacheError, InputError

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
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        for stream in schema.stream_names:
            for branch in schema.branches if stream == "text" else ():
                writer.put_token_masks([1, 0], stream, branch, np.ones((2, TEXT_TOKENS), dtype=bool))
            for address in [a for site in schema.sites for a in addresses(schema, stream, site)]:
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
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
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
    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
        fill(writer, 0, same_array)
        writer.commit(0)
    hidden = open_cache(tmp_path / "a.zarr").hidden().load()
    for address in addresses(schema):
        stored = hidden.sel(sample=0, **at(address)).values
        np.testing.assert_array_equal(bits(stored), bits(hidden_value(schema, 0, address)))


def test_committed_samples_are_closed(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    schema = make_schema()
    with CacheWriter.create_or_resume(store, schema, make_manifest(schema)) as writer:
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
        with CacheWriter.create_or_resume(path, schema, make_manifest(schema)) as writer:
            for sample in range(2):
                fill(writer, sample, infinite)
                writer.commit(sample)
        (row,) = open_cache(path).nonfinite.to_dict("records")
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

    with CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema)) as writer:
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
    assert not (store / "image" / "block_output").exists()
    with (
        CacheWriter.create_or_resume(store, schema, make_manifest(schema)) as writer,
        pytest.raises(InputError, match="tensors=True"),
    ):
        writer.put(reading_of(writer))
