"""What can be looked at: caches, sweeps, folders of studies, results in memory."""

from __future__ import annotations

import json
import shutil

import pytest
import xarray as xr

import ditscope as ds
from ditscope.errors import CacheError, InputError
from ditscope.explorer.stores import Comparison, listed, opened


def test_what_is_at_a_path_is_found_out(cache, sweep) -> None:
    found = opened([cache.path, str(sweep), cache, ds.open_sweep(sweep)])
    assert [each.kind for each in listed(found)] == ["recording", "comparison"] * 2
    assert found[2] is cache
    assert found[1].grid == found[3].grid == ("block",)
    names: dict = {}
    exec(found[1].code, names)
    xr.testing.assert_identical(names["result"], found[1].result)


def test_a_study_has_its_comparison_and_the_stores_in_its_folder(tmp_path, cache, sweep) -> None:
    (tmp_path / "results.json").write_text(json.dumps({}))
    tree = xr.DataTree.from_dict({"comparison": ds.open_sweep(sweep).load(), "other": xr.Dataset({"a": 1})})
    tree.to_zarr(tmp_path / "arrays.zarr", zarr_format=3, consolidated=False)
    shutil.copytree(cache.path, tmp_path / "cache.zarr")
    for folder in ("pilot", "test"):
        shutil.copytree(cache.path, tmp_path / folder / "a.zarr")
        shutil.copytree(sweep, tmp_path / folder / "edits.sweep")
    stores = opened([tmp_path])
    assert [each.name for each in listed(stores)] == [
        f"{tmp_path.name}: comparison",
        "cache.zarr",
        "pilot/a.zarr",
        "pilot/edits.sweep",
        "test/a.zarr",
        "test/edits.sweep",
    ]
    comparison = stores[0]
    names: dict = {}
    exec(comparison.code, names)
    assert float(names["result"]["mean"].sum()) == float(comparison.result["mean"].sum())


def test_what_is_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no store"):
        opened([])
    with pytest.raises(InputError, match="without baseline_value"):
        opened([xr.Dataset()])
    with pytest.raises(CacheError, match="nothing at"):
        opened([tmp_path / "nothing"])
    (tmp_path / "results.json").write_text("{}")
    xr.DataTree().to_zarr(tmp_path / "arrays.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="without comparison or recording"):
        opened([tmp_path])


def test_a_damaged_store_is_refused_by_who_reads_it(tmp_path, cache, sweep) -> None:
    for source, file, words in (
        (sweep, "journal.jsonl", "whose checksum is another"),
        (cache.path, "zarr.json", "not JSON"),
    ):
        damaged = shutil.copytree(source, tmp_path / file)
        (damaged / file).write_text("00000000 {}\n" + (damaged / file).read_text())
        with pytest.raises(CacheError, match=words):
            opened([damaged])


def test_positions_are_checked(stores) -> None:
    comparison = stores[1]
    assert isinstance(comparison, Comparison)
    assert comparison.place([1]) == {"block": 1}
    for cell in ([], [0, 0]):
        with pytest.raises(InputError, match="the cell"):
            comparison.place(cell)
    for place in ({"block": 2}, {"sample": -1}):
        with pytest.raises(InputError, match="Choose another"):
            comparison.checked(place)
