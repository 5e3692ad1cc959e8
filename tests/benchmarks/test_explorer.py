"""The benchmark of the explorer, at its smallest: what it says, and a sparse store whose zeros are as recorded."""

from __future__ import annotations

import json
from dataclasses import replace

import ditscope as ds
import explorer


def test_it_says_what_it_found_and_what_was_aimed_at(tmp_path) -> None:
    kept = tmp_path / "explorer.json"
    asked = ["--quick", "--rounds", "1", "--only", "flux", "opening"]
    explorer.main([*asked, "--folder", str(tmp_path), "--json", str(kept)])
    found = json.loads(kept.read_text())
    aimed = {name: [f["target"] for f in part["figures"] if f["target"]] for name, part in found.items()}
    assert aimed == {"flux": ["at most 300"] * 4, "opening": ["at most 1", "at most 300"]}
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_a_sparse_store_can_be_read(tmp_path) -> None:
    explorer.sparse(tmp_path / "store", replace(explorer.QUICK, samples=2))
    cache = ds.open_cache(tmp_path / "store", check_files=True)
    assert not cache.hidden().astype("float32").values.any()
    assert not cache.stats()["mean_abs"].values.any()
    assert cache.complete
