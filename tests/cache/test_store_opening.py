import pytest
import zarr
from store_recording import (
    edit_json,
    files_below,
    make_manifest,
    make_schema,
)

from ditscope.cache import (
    CacheWriter,
    open_cache,
)
from ditscope.errors import CacheError, InputError


@pytest.mark.parametrize("what", ["folder", "file", "other zarr", "broken json"])
def test_a_path_that_is_not_a_cache_is_refused_and_untouched(tmp_path, what):
    import zarr

    path = tmp_path / "a.zarr"
    if what == "file":
        path.write_text("hello")
    elif what == "other zarr":
        zarr.create_group(path)
    else:
        path.mkdir()
        (path / ("zarr.json" if what == "broken json" else "notes.txt")).write_text("{oh no")
    before = files_below(tmp_path)
    schema = make_schema()
    with pytest.raises(CacheError, match="expected"):
        CacheWriter.create_or_resume(path, schema, make_manifest(schema))
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("what", ["nothing", "file", "folder", "other zarr", "address"])
def test_what_is_not_a_cache_is_refused(tmp_path, what):
    path = tmp_path / "a.zarr"
    if what == "file":
        path.write_text("hello")
    elif what == "folder":
        path.mkdir()
    elif what == "other zarr":
        zarr.create_group(path)
    elif what == "address":
        path = "s3://bucket/a.zarr"
    with pytest.raises((CacheError, InputError), match=r"found .*expected"):
        open_cache(path)


@pytest.mark.parametrize("name", ["image/block_output", "images", "done", "trajectory/latents"])
def test_missing_array_metadata_is_refused(store, name):
    (store / name / "zarr.json").unlink()
    with pytest.raises(CacheError, match=rf"{name}/zarr\.json.*cut short"):
        open_cache(store)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [2, 2, 2, 3, 12, 10**12]),
        ("data_type", "float16"),
        ("codecs", [{"name": "numcodecs.pickle"}]),
        ("dimension_names", None),
        ("fill_value", 0),
    ],
)
def test_altered_array_metadata_is_refused(store, field, value):
    edit_json(store / "image/block_output/zarr.json", lambda content: content.update({field: value}))
    with pytest.raises(CacheError, match=f"{field} .*image/block_output"):
        open_cache(store)


def test_an_altered_manifest_is_refused(store):
    def change(content):
        content["attributes"]["ditscope"]["config"]["model"] = "another"

    edit_json(store / "zarr.json", change)
    with pytest.raises(CacheError, match="hash"):
        open_cache(store)


def test_deeply_nested_json_is_refused(store):
    (store / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(CacheError, match="not JSON"):
        open_cache(store)
