import pytest
import zarr
from store_recording import (
    edit_json,
    files_below,
    make_manifest,
    make_schema,
    record,
)

from ditscope.cache import (
    CacheWriter,
    open_cache,
)
from ditscope.errors import CacheError, InputError


@pytest.mark.parametrize("what", ["folder", "file", "other zarr", "broken json"])
def test_a_path_that_is_not_a_cache_is_refused_and_untouched(tmp_path, what):
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


@pytest.mark.parametrize("name", ["image/block_output/hidden", "images", "done/ledger", "trajectory/latents"])
@pytest.mark.parametrize("link", [False, True])
def test_missing_folders_and_folders_that_lead_elsewhere_are_refused(store, name, link):
    moved = (store / name).rename(store.with_name("elsewhere"))
    if link:
        (store / name).symlink_to(moved)
    with pytest.raises(CacheError, match=f"a link at .*{name}" if link else f"{name}.*cut short"):
        open_cache(store)


def test_a_missing_file_is_found_at_once_if_asked(store):
    (store / "images/c.1.0.0.0").unlink()
    assert open_cache(store).complete
    with pytest.raises(CacheError, match=r"no file images/c\.1\.0\.0\.0 of committed sample 1"):
        open_cache(store, check_files=True)


@pytest.mark.parametrize("what", ["no ledger", "empty", "cut in its first line", "of another recording"])
def test_a_store_without_its_ledger_is_refused(store, tmp_path, what):
    path = store / "done/ledger/journal.jsonl"
    if what == "no ledger":
        path.unlink()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "cut in its first line":
        path.write_bytes(path.read_bytes()[:20])
    else:
        other = record(tmp_path / "b.zarr", make_schema(stats=False))
        path.write_bytes((other / "done/ledger/journal.jsonl").read_bytes())
    with pytest.raises(CacheError, match="ledger|journal"):
        open_cache(store)


def test_a_ledger_without_its_first_line_is_damaged(store):
    path = store / "done/ledger/journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.warns(UserWarning, match="line 1 .*: the first line, and no other"):
        assert open_cache(store).committed == (0, 1)


def test_what_plain_readers_see_is_not_read(store):
    """So that nothing that a stranger writes there, of any size or codec, is followed."""
    for path in store.rglob("zarr.json"):
        if path.parent != store:
            edit_json(
                path, lambda content: content.update(shape=[10**12], codecs=[{"name": "numcodecs.pickle"}])
            )
    assert open_cache(store).hidden().shape == (2, 2, 2, 3, 12, 70)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"shard": [1, 1, 1, 12, 71]}, "a file of whole chunks"),
        ({"shape": [2, 2, 3, 12, 10**12]}, "length"),
        ({"dtype": "complex64"}, "dtype 'complex64'"),
        ({"dims": ["sample"]}, "one length of each"),
        ({"compression": "pickle"}, "compression 'pickle'"),
        # Which are equally long: every checksum would fit.
        ({"dims": ["branch", "step", "block", "token", "channel"]}, "other than its schema has"),
        ({"shape": [2, 2, 3, 12, 69]}, "other than its schema has"),
        ({"dtype": "float16"}, "other than its schema has"),
        ({"kind": "stats"}, "other than its schema has"),
    ],
)
def test_arrays_that_cannot_be_are_refused(store, change, named):
    """What a manifest says of arrays is in no hash, since it says how they are cut."""

    def edit(content):
        content["attributes"]["ditscope"]["arrays"]["image/block_output/hidden"].update(change)

    edit_json(store / "zarr.json", edit)
    with pytest.raises(CacheError, match=named):
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
