"""Nothing that is missing, cut short, damaged or swapped is ever read as numbers, and the error says what it is of."""

import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from store_recording import SAMPLES, addresses, bits, hidden_value, make_schema, record

from ditscope.cache import StreamSpec, chunk_reading, open_cache
from ditscope.errors import CacheError

SITE = "stream image, site block_output, sample 1, step 1"
# Array, what reads it, and what an error says of its first chunk in sample 1.
ARRAYS = {
    "image/block_output/hidden": (
        lambda cache: cache.hidden(),
        f"{SITE}, branch cond, block 0, channel 3 to 26",
    ),
    "image/block_output/statistics/over_tokens": (
        lambda cache: cache.stats(),
        f"{SITE} to 3, branch cond to uncond",
    ),
    "text/attn_gate/values": (
        lambda cache: cache.stats("text", "attn_gate"),
        "stream text, site attn_gate, sample 1, step 1 to 3, branch cond to uncond, block 0 to 4",
    ),
    "text/token_mask": (lambda cache: cache.hidden("text"), "stream text, sample 1"),
    "image/token_id": (lambda cache: cache.hidden(), "array image/token_id, stream image, sample 1"),
    "images": (lambda cache: cache.images, "array images, sample 1"),
    "trajectory/latents": (lambda cache: cache.trajectory, "array trajectory/latents, sample 1 in"),
    "trajectory/transformer_output": (lambda cache: cache.trajectory, "sample 1, step 0 to 3, branch cond"),
}


@pytest.fixture(autouse=True, params=[None, 1500], ids=["at once", "in pieces of two chunks"])
def piece(request, monkeypatch):
    """How many bytes are read and checked together."""
    if request.param is not None:
        monkeypatch.setattr(chunk_reading, "_PIECE", request.param)


@pytest.fixture(scope="module", params=[None, "zstd"])
def recorded(request, tmp_path_factory):
    """A store with every kind of array."""
    streams = (StreamSpec("image", 12, 3, 4, random_tokens=5), StreamSpec("text", 5))
    schema = make_schema(("attn_gate", "block_output"), streams=streams, compression=request.param)
    return record(tmp_path_factory.mktemp("recorded") / "a.zarr", schema)


def flip(path):
    data = bytearray(path.read_bytes())
    data[17 % len(data)] ^= 0x10
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:2])


def swap(path):
    """The same array of the other sample: every checksum in the file fits."""
    shutil.copy(path.with_name(path.name.replace("c.1.", "c.0.")), path)


def replace_by_link(path):
    moved = path.rename(path.with_name("elsewhere"))
    path.symlink_to(moved)


@pytest.mark.parametrize(
    ("array", "damage"),
    [
        (array, damage)
        for array in ARRAYS
        for damage in (flip, cut, swap, Path.unlink, replace_by_link)
        if (array, damage) != ("text/token_mask", swap)  # which is the same for both samples
    ],
)
def test_no_damage_is_read_as_numbers(recorded, tmp_path, array, damage):
    read, named = ARRAYS[array]
    store = shutil.copytree(recorded, tmp_path / "a.zarr")
    (path,) = (store / array).glob("c.1.*")
    damage(path)
    with pytest.raises(CacheError, match="unreadable data") as error:
        read(open_cache(store)).compute()
    assert named in str(error.value)
    assert str(path.relative_to(store)) in str(error.value)
    # The other sample can be read.
    cache = open_cache(store)
    for whole in (cache.images, cache.trajectory["latents"], cache.hidden("text", "attn_gate")):
        assert whole.isel(sample=0).values.any()


def test_chunks_that_were_swapped_within_a_file_are_not_read(tmp_path):
    store = record(tmp_path / "a.zarr", make_schema(), specs=SAMPLES[:1])
    path = store / "image/block_output/hidden/c.0.0.0.0.0.0"
    data = path.read_bytes()
    pitch = 12 * 24 * 2 + 4
    path.write_bytes(data[pitch : 2 * pitch] + data[:pitch] + data[2 * pitch :])
    hidden = open_cache(store).hidden()
    for channels in (slice(0, 24), slice(24, 48)):
        with pytest.raises(CacheError, match="block 0, channel .*its checksum is not the ledger's"):
            hidden.isel(step=0, branch=0, block=0, channel=channels).compute()
    hidden.isel(channel=slice(48, None)).compute()


@pytest.mark.parametrize("shard_bytes", [1, 2000, 6000, 2**20])
def test_however_it_is_cut_into_files_it_reads_the_same(tmp_path, shard_bytes):
    schema = make_schema(shard_bytes=shard_bytes)
    store = record(tmp_path / "a.zarr", schema, specs=SAMPLES[:1])
    hidden = open_cache(store).hidden().sel(sample=0).values.reshape(-1, 12, 70)
    for stored, address in zip(hidden, addresses(schema), strict=True):
        np.testing.assert_array_equal(bits(stored), bits(hidden_value(schema, 0, address)))


def test_an_index_that_leads_elsewhere_is_not_followed(tmp_path):
    """Its own checksum fits: a stranger made it."""
    store = record(tmp_path / "a.zarr", make_schema(compression="zstd"), specs=SAMPLES[:1])
    path = store / "image/block_output/hidden/c.0.0.0.0.0.0"
    data = path.read_bytes()
    n_bytes = 2 * 2 * 3 * 3 * 16
    for offset, size in ((2**62, 100), (0, 2**62), (len(data), 100)):
        index = bytearray(data[-4 - n_bytes : -4])
        index[:16] = np.array([offset, size], "<u8").tobytes()
        checksum = int(google_crc32c.value(bytes(index))).to_bytes(4, "little")
        path.write_bytes(data[: -4 - n_bytes] + index + checksum)
        with pytest.raises(CacheError, match="an index that leads out of the file"):
            open_cache(store).hidden().compute()
