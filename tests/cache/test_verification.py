import numpy as np
import pytest
from store_recording import make_schema, record

from ditscope.cache import open_cache, verify
from ditscope.errors import CacheError


def test_an_intact_store_is_as_recorded(store):
    report = verify(store)
    assert report.ok
    assert report.samples == 2
    assert report.nbytes == open_cache(store).nbytes
    assert "all as recorded" in str(report)


def _flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_damaged_chunk_is_named_by_its_labels(tmp_path, compression):
    store = record(tmp_path / "a.zarr", make_schema(compression=compression))
    path = store / "image/block_output/c/1/0/0/0/0/0"
    # The index at the end says where chunk (step 1, branch 0, block 2, channel part 1) of the shard is.
    index = np.frombuffer(path.read_bytes()[-4 - 12 * 3 * 16 : -4], "<u8").reshape(2, 2, 3, 3, 2)
    _flip(path, int(index[1, 0, 2, 1, 0]) + 5)
    (damage,) = verify(store).damaged
    assert damage.labels == {
        "array": "image/block_output",
        "stream": "image",
        "site": "block_output",
        "sample": 1,
        "step": 3,
        "branch": "cond",
        "block": 4,
        "channel": (27, 50),
    }
    assert damage.file == "image/block_output/c/1/0/0/0/0/0"
    for part in ("sample 1", "step 3", "branch cond", "block 4"):
        assert part in str(damage)


def test_any_flipped_byte_is_found(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[0])
    files = [store / name for name in next(iter(open_cache(store).ledger.values())).files]
    rng = np.random.default_rng(0)
    for path in files:
        data = path.read_bytes()
        _flip(path, int(rng.integers(len(data))))
        report = verify(store)
        assert {damage.file for damage in report.damaged} == {str(path.relative_to(store))}
        path.write_bytes(data)
    assert verify(store).ok


def test_swapped_files_are_found_though_every_chunk_reads(store):
    one, two = (store / f"image/block_output/c/{i}/0/0/0/0/0" for i in (0, 1))
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    report = verify(store)
    assert [damage.labels["sample"] for damage in report.damaged] == [0, 1]
    assert all("not the" in damage.reason for damage in report.damaged)


def test_missing_and_shortened_files_are_found(store):
    (store / "images/c/0/0/0/0").unlink()
    path = store / "text/stats/block_output/count/c/1/0/0/0"
    path.write_bytes(path.read_bytes()[:-1])
    report = verify(open_cache(store, check_files=False))
    assert sorted(damage.labels["array"] for damage in report.damaged) == [
        "images",
        "text/stats/block_output/count",
    ]
    assert "2 damaged chunks" in str(report)


def test_uncommitted_samples_are_not_read(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[1])
    assert verify(store).samples == 1


def test_what_is_not_a_cache_is_refused(tmp_path):
    with pytest.raises(CacheError, match="nothing at"):
        verify(tmp_path / "a.zarr")
