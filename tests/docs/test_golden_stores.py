"""Stores that were recorded when the format was frozen open, verify and go on, as long as there is version 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ditscope.cache import open_cache, verify

FOLDER = Path(__file__).parents[1] / "data" / "golden"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*[zn]")) < 60_000


@pytest.mark.parametrize("name", EXPECTED)
def test_it_opens_with_the_values_of_then(golden, golden_module, name) -> None:
    store = golden(name)
    cache = open_cache(store)
    assert cache.committed == (0,)
    assert [spec.to_json() for spec in cache.specs] == [
        spec.to_json() for spec in golden_module.STORES[name].samples
    ]
    assert golden_module.digests(store) == EXPECTED[name]["begun"]
    assert (cache.call_tensors[golden_module.DIGEST] == golden_module.TENSOR).all()
    assert cache.schema == golden_module.STORES[name].schema
    report = verify(cache)
    assert report.ok, report


@pytest.mark.parametrize("name", EXPECTED)
def test_it_goes_on_to_the_end(golden, golden_module, tmp_path, name) -> None:
    store = golden(name, copy=tmp_path / "a.zarr")
    with golden_module.resumed(store) as writer:
        assert writer.committed == {0}
        golden_module.commit(writer, 1)
    assert golden_module.digests(store) == EXPECTED[name]["complete"]
    report = verify(store)
    assert report.ok, report
    assert open_cache(store).complete


def test_an_unknown_site_with_an_axis_of_its_own_is_read(golden) -> None:
    cache = open_cache(golden("float32"))
    hidden = cache.hidden("image", "clip_output")
    assert hidden.dims == ("sample", "step", "branch", "block", "frame", "token", "channel")
    assert hidden.sizes["frame"] == 2
    assert cache.stats("image", "clip_output").sizes["channel"] == 35
    assert cache.saturated["count"].tolist() == [4, 4]


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_recorded_now_is_what_was_then(golden, golden_module, tmp_path, name) -> None:
    golden_module.make(name, tmp_path / "a.zarr")
    assert golden_module.digests(tmp_path / "a.zarr") == EXPECTED[name]["begun"]
    plans = open_cache(golden(name)).plans
    for path, plan in plans.items():
        if plan.compression is None:  # another zstd may pack otherwise
            for file in (golden(name) / path).glob("c.*"):
                assert file.read_bytes() == (tmp_path / "a.zarr" / path / file.name).read_bytes()
