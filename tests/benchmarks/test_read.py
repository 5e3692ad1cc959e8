"""The benchmark of reading, at its smallest: every part runs, and says what it found beside what is aimed at."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import ditscope as ds
import read
from filled_stores import Hidden, fill

TARGETS = {
    "opening": ["at most 1"],
    "commit": ["at most 3"],
    "tensors": ["at least 0.7"],
    "statistics": ["at most 0.5"],
    "channels": ["at least 5", "at most 0.15"],
    "memory": ["at most 1024"] * 3,
}


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells bytes and peaks"
)
def test_every_part_says_what_it_found_and_what_was_aimed_at(tmp_path) -> None:
    kept = tmp_path / "read.json"
    read.main(["--quick", "--rounds", "1", "--folder", str(tmp_path), "--json", str(kept)])
    found = json.loads(kept.read_text())
    aimed = {name: [f["target"] for f in part["figures"] if f["target"]] for name, part in found.items()}
    assert aimed == TARGETS
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]
    # A process may hold less memory after a pass than before it.
    figures = [f for part in found.values() for f in part["figures"] if f["unit"] != "MiB"]
    assert all(value >= 0 for f in figures for value in f["values"])


def test_a_filled_store_holds_what_was_put_with_its_statistics(tmp_path) -> None:
    hidden = Hidden(samples=2, steps=1, blocks=2, side=3, width=5, different=3)
    took = fill(tmp_path / "store", hidden)
    assert len(took.committed) == 2
    cache = ds.open_cache(tmp_path / "store")
    values = cache.hidden().values.reshape(hidden.count, 9, 5)
    assert np.array_equal(values.view(np.uint16), np.stack(hidden.in_order()).view(np.uint16))
    assert not np.array_equal(values[0], values[1])
    mean_abs = cache.stats()["mean_abs"].values.reshape(hidden.count, 5)
    assert np.allclose(mean_abs, abs(values.astype(np.float64)).mean(1), rtol=1e-6)
    assert hidden.nbytes == values.nbytes
    assert ds.verify(tmp_path / "store").ok
