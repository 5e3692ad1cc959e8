import dataclasses
import shutil
import struct

import google_crc32c
import numpy as np
import pytest
import zarr
from array_files import plans, random_values, tensorstore_of, write_array
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import bits, make_schema

from ditscope.cache import bfloat16
from ditscope.cache.layout import plan_arrays
from ditscope.cache.shard_encoding import (
    FileForm,
    compressed,
    copy_runs,
    file_form,
    most_encoded_bytes,
    place,
)

bfloat16.register()


def _same_as_others_write(folder, plan, values):
    """Files of TensorStore's with the same metadata have the same bytes, and both libraries read ours."""
    written = write_array(folder / "ours", plan, values)
    for read in (tensorstore_of(folder / "ours", plan).read().result(), _zarr(folder / "ours", plan)[...]):
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(bits(read), bits(values))
    shutil.copytree(folder / "ours", folder / "theirs", ignore=shutil.ignore_patterns("c.*"))
    tensorstore_of(folder / "theirs", plan).write(values).result()
    for name, known in written.items():
        data = (folder / "ours" / name).read_bytes()
        assert data == (folder / "theirs" / name).read_bytes(), name
        assert known.nbytes == len(data)
    assert [file.nbytes for file in written.values()] == [*plan.file_bytes] * len(values)
    names = {path.name for path in (folder / "theirs" / plan.path).iterdir()}
    assert names == {path.name for path in (folder / "ours" / plan.path).iterdir()}


def _zarr(folder, plan):
    return zarr.open_array(folder / plan.path, mode="r")


@settings(max_examples=40, deadline=None)
@given(plan=plans())
def test_bytes_are_those_of_tensorstore_and_zarr_reads_them(plan, tmp_path_factory):
    _same_as_others_write(tmp_path_factory.mktemp("files"), plan, random_values(plan, 2))


@pytest.mark.parametrize("shard_bytes", [1, 9_000, 24_000, 2**26])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_bytes_of_every_array_of_a_store_are_those_of_tensorstore(tmp_path, dtype, shard_bytes):
    sites = ("attn_gate", "block_output")
    for number, plan in enumerate(plan_arrays(make_schema(sites, dtype, shard_bytes=shard_bytes)).values()):
        values = np.random.default_rng(number).integers(0, 2, (1, *plan.shape)).astype(plan.numpy_dtype)
        _same_as_others_write(tmp_path / str(number), plan, values)


@settings(max_examples=10, deadline=None)
@given(plan=plans(sharded=True, dtype="bfloat16"))
def test_compressed_files_are_read_by_both(plan, tmp_path_factory):
    folder, plan = tmp_path_factory.mktemp("zstd"), dataclasses.replace(plan, compression="zstd")
    values = random_values(plan, 2)
    written = write_array(folder, plan, values)
    for read in (tensorstore_of(folder, plan).read().result(), _zarr(folder, plan)[...]):
        np.testing.assert_array_equal(bits(read), bits(values))
    for name, known in written.items():
        assert known.nbytes == (folder / name).stat().st_size
        checksums = [google_crc32c.value(part) for part, _ in _chunks(folder / name, plan)]
        assert known.checksums.tolist() == checksums


def test_what_repeats_becomes_smaller_by_zstd(tmp_path):
    plan = dataclasses.replace(plan_arrays(make_schema())["image/block_output/hidden"], compression="zstd")
    values = np.ones((1, *plan.shape), plan.numpy_dtype)
    (known,) = write_array(tmp_path, plan, values).values()
    assert known.nbytes < sum(plan.file_bytes) / 5
    np.testing.assert_array_equal(bits(_zarr(tmp_path, plan)[...]), bits(values))


def _chunks(path, plan):
    """Chunks and their checksums as the zarr specification says where they are, in the order of the axes."""
    data = path.read_bytes()
    slots = int(np.prod([s // c for s, c in zip(plan.shard, plan.chunk, strict=True)]))
    index = data[-slots * 16 - 4 :]
    assert google_crc32c.value(index[:-4]) == int.from_bytes(index[-4:], "little")
    for offset, size in struct.iter_unpack("<QQ", index[:-4]):
        if offset != 2**64 - 1:
            yield data[offset : offset + size - 4], int.from_bytes(data[offset + size - 4 :][:4], "little")
        else:
            assert size == 2**64 - 1


@settings(max_examples=15, deadline=None)
@given(plan=plans(sharded=True))
def test_every_chunk_has_its_checksum_in_the_file_and_in_what_is_known(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checksums")
    for (name, known), count in zip(
        write_array(folder, plan, random_values(plan)).items(), plan.chunks, strict=True
    ):
        chunks = list(_chunks(folder / name, plan))
        assert len(chunks) == count
        assert [google_crc32c.value(part) for part, _ in chunks] == [crc for _, crc in chunks]
        assert known.checksums.tolist() == [crc for _, crc in chunks]


def test_the_checksum_is_the_castagnoli_one(tmp_path):
    form = FileForm((1,), (9,), np.dtype("u1"), None)
    data = np.zeros(form.nbytes, np.uint8)
    data[:9] = np.frombuffer(b"123456789", np.uint8)
    assert form.set_checksums(data).tolist() == [0xE3069283]
    assert bytes(data[9:]) == 0xE3069283.to_bytes(4, "little")


@pytest.mark.parametrize("offset", ["first", "last"])
def test_zarr_refuses_a_file_of_ours_with_a_flipped_byte(tmp_path, offset):
    plan = plan_arrays(make_schema())["image/block_output/hidden"]
    (name,) = write_array(tmp_path, plan, random_values(plan))
    data = bytearray((tmp_path / name).read_bytes())
    data[0 if offset == "first" else -5] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"checksum|crc32c"):
        _zarr(tmp_path, plan)[...]


@given(data=st.data(), plan=plans(dtype="float32"))
@settings(max_examples=20, deadline=None)
def test_values_shorter_than_their_place_are_padded_with_the_fill_value(plan, data):
    form = file_form(plan, plan.shards[0])
    buffer = np.full(form.nbytes, 0xAB, np.uint8)
    target = form.values(buffer)[(0,) * (2 * plan.n_indexed)]
    tokens, channels = (data.draw(st.integers(1, n)) for n in plan.shape[-2:])
    values = np.arange(tokens * channels, dtype="u4").reshape(tokens, channels)
    place(target, values, np.array(7, "u4"), np.copyto)
    laid = target.reshape([a * b for a, b in zip(target.shape[::2], target.shape[1::2], strict=True)])
    np.testing.assert_array_equal(laid[:tokens, :channels], values)
    padding = np.ones(laid.shape, bool)
    padding[:tokens, :channels] = False
    assert (laid[padding] == 7).all()


def test_the_copy_that_is_asked_for_is_the_one_that_copies():
    calls = []

    def copy(target, values):
        calls.append((target.shape, values.shape, target.dtype == values.dtype))
        target[...] = values

    target = np.zeros((1, 3, 2, 4), "u2")
    place(target, np.arange(24, dtype="u2").reshape(3, 8), np.array(0, "u2"), copy)
    assert calls == [((1, 3, 2, 4), (1, 3, 2, 4), True)]
    np.testing.assert_array_equal(target.reshape(3, 8), np.arange(24).reshape(3, 8))


def test_compression_leaves_the_plain_bytes_alone():
    plan = plan_arrays(make_schema())["image/block_output/hidden"]
    form = file_form(plan, plan.shards[0])
    data = np.random.default_rng(0).integers(0, 256, form.nbytes, np.uint8)
    before = data.copy()
    list(compressed(form, data, np.empty(form.n_chunks, "u4")))
    np.testing.assert_array_equal(data, before)


def test_a_chunk_is_compressed_once_the_one_before_is_written():
    plan = plan_arrays(make_schema())["image/block_output/hidden"]
    form = file_form(plan, plan.shards[0])
    checksums = np.zeros(form.n_chunks, "u4")
    parts = compressed(form, np.zeros(form.nbytes, np.uint8), checksums)
    for number in range(form.n_chunks):
        assert np.count_nonzero(checksums) == number
        assert len(next(parts)) <= most_encoded_bytes(form.chunk_bytes)
        assert next(parts) == checksums[number].tobytes()
    assert [len(part) for part in parts] == [form.index_bytes]


@pytest.mark.parametrize("last_step", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_runs_are_copied_as_they_are_and_nothing_beside_them(dtype, last_step):
    values = np.random.default_rng(0).integers(1, 256, (3, 5, 8 * last_step)).astype(dtype)
    source, target = values[:, ::2, ::last_step], np.zeros((3, 4, 20), dtype)
    copy_runs(target[:, 1:, 4 : 4 + 8], source)
    expected = np.zeros_like(target)
    expected[:, 1:, 4:12] = source
    np.testing.assert_array_equal(target, expected)
