"""The yardstick writes and reads what it says."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import raw_files

ARRAYS = [np.arange(n, dtype=np.float32).reshape(-1, 5).astype(ml_dtypes.bfloat16) for n in (10, 35)]


def test_raw_and_numpy_files_hold_the_bytes(tmp_path) -> None:
    assert raw_files.write_raw(tmp_path / "raw", ARRAYS) > 0
    assert (tmp_path / "raw").read_bytes() == b"".join(array.tobytes() for array in ARRAYS)
    assert raw_files.write_numpy(tmp_path / "numpy", ARRAYS) > 0
    for number, array in enumerate(ARRAYS):
        kept = np.load(tmp_path / "numpy" / f"{number}.npy")
        assert np.array_equal(kept, array.view(np.uint16))


@pytest.mark.parametrize("more", [0, 3])
def test_as_many_bytes_are_written_as_asked_for(tmp_path, monkeypatch, more) -> None:
    monkeypatch.setattr(raw_files, "_AT_ONCE", 7)
    raw_files.write_nbytes(tmp_path / "raw", 21 + more)
    assert (tmp_path / "raw").stat().st_size == 21 + more


def test_every_file_is_read(tmp_path) -> None:
    for name, nbytes in (("a/b", 10), ("c", 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(nbytes))
    raw_files.forget(tmp_path)
    before = raw_files.bytes_read()
    assert raw_files.read_raw(tmp_path) == 30
    if before:
        assert raw_files.bytes_read() - before >= 30
    assert raw_files.sync(tmp_path) > 0
