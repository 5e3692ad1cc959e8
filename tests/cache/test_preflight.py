import shutil

import pytest
from store_recording import (
    files_below,
    make_manifest,
    make_schema,
    record,
)

from ditscope.cache import (
    CacheWriter,
    build_manifest,
    preflight,
)
from ditscope.errors import CacheError, ConfigMismatchError, InputError


def test_a_budget_that_cannot_do_is_refused_first(tmp_path):
    schema = make_schema()
    with pytest.raises(InputError, match=r"memory_budget of 1 kB; expected at least .* batch size 1"):
        CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, make_manifest(schema), memory_budget=1000)
    assert not (tmp_path / "a.zarr").exists()


def test_larger_batches_need_more_memory():
    small, large = (preflight.memory_budget(make_schema(batch_size=n), 2, None) for n in (1, 2))
    assert large > small


def test_another_configuration_is_refused_by_its_fields(store):
    before = files_below(store)
    schema = make_schema(batch_size=2)
    manifest = build_manifest(schema, {"model": "tests/other"})
    with pytest.raises(
        ConfigMismatchError, match=r"schema.batch_size: found 1, expected 2.*config.model"
    ) as caught:
        CacheWriter.create_or_resume(store, schema, manifest)
    assert "'tests/other'" in str(caught.value)
    assert files_below(store) == before


def test_a_short_disk_is_refused_with_figures(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    schema = make_schema()
    with pytest.raises(CacheError, match=r"1 kB free.*room for .* files for 2 samples"):
        CacheWriter.create_or_resume(tmp_path / "deep" / "a.zarr", schema, make_manifest(schema))
    assert list(tmp_path.iterdir()) == []


def test_only_missing_samples_need_room(tmp_path, monkeypatch):
    store = record(tmp_path / "a.zarr")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    record(store)
