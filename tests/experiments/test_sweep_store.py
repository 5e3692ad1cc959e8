"""The store of a sweep: what is at a path, a journal that is damaged, and one process at a time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import CacheError
from ditscope.experiments.outline import RunKey
from ditscope.experiments.scoring import Scored
from ditscope.experiments.sweep_store import JOURNAL, ROOT, opened, read

SCORED = Scored(
    *(np.array([[np.inf, np.nan]]), np.array([3, 0]), np.array([0.1, np.nan])),
    *(np.array([-0.0, 1e-300]), np.array([np.nan, 1.5])),
)
KEPT = {"images": "keep", "image_size": (2, 3)}


def filled(path, outline):
    with opened(path, outline, {"call": {"steps": 1}}, {}) as store:
        store.add_baseline(0, SCORED, [False, True], None, "digest")
        for number in range(2):
            images = np.full((2, 2, 3, 3), 7 + number, np.uint8)
            store.add(RunKey(number, 1, 0, 0), SCORED, images)
    return store


@pytest.mark.parametrize("images", [{}, KEPT], ids=["dropped", "kept"])
def test_numbers_come_back_bit_for_bit_and_images_where_they_were(tmp_path, outline, images) -> None:
    outline = replace(outline, **images)
    filled(tmp_path / "a", outline)
    store = read(tmp_path / "a")
    assert store.truncated == {0: [False, True]}
    for found in (store.baselines[0], store.runs[1, 1, 0, 0]):
        for name in ("scores", "fired", "removed", "moved"):
            assert getattr(found, name).tobytes() == getattr(SCORED, name).tobytes()
    found = store.images()
    assert set(found) == ({"images", "baseline_images"} if images else set())
    if images:
        expected = np.zeros(found["images"].shape, np.uint8)
        expected[:, 0, 1, 0, :2] = np.array([7, 8])[:, None, None, None, None]
        assert np.array_equal(found["images"], expected)


def test_another_commit_goes_on_and_the_result_says_with_which_it_was_begun(tmp_path, outline) -> None:
    for commit in "ab":
        own = replace(outline, attrs={**outline.attrs, "ditscope_commit": commit})
        assert filled(tmp_path / "a", own).outline.attrs["ditscope_commit"] == "a"
    assert read(tmp_path / "a").outline.attrs["ditscope_commit"] == "a"


MANIFEST = """{"version": 2, "ditscope": "%s", "outline": {"dims": {"block": [0, 1], "k": [3]}, "edits": ["a", "b"],
"draws": [[1, 2], [1, 1]], "control": [false, true], "matched_to": ["", "what a changes"], "metrics": [{"metric":
"psnr", "paired": true, "over": "image", "binary": false}], "prompts": ["x", "y", "z"], "seeds": [0, 0, 0],
"batch_size": 2, "images": "drop", "image_size": null, "attrs": {"model": "m"}},
"config": {"call": {"steps": 1}, "edits": {}}}"""
NUMBERS = "AAAAAAAA8H8AAAAAAAD4fwAAAAAAAAhAAAAAAAAAAACamZmZmZm5PwAAAAAAAPh/AAAAAAAAAIBZ8/jCH26lAQAAAAAAAPh/AAAAAAAA+D8="
LINES = f"""\
914bc2ff {{"baseline":0,"truncated":[false,true],"digest":"digest","numbers":"{NUMBERS}"}}
2261bd8a {{"run":[0,1,0,0],"numbers":"{NUMBERS}"}}
ee9964ee {{"run":[1,1,0,0],"numbers":"{NUMBERS}"}}
648821e2 {{"checked":3}}
"""


def test_a_store_is_the_golden_one_of_its_version(tmp_path, outline) -> None:
    """What is written otherwise is of another version: raise it, say in docs/format.md what the older one lacks."""
    store = filled(tmp_path / "a", outline)
    store.checked()
    found = {each.name: each.read_text() for each in (tmp_path / "a").iterdir()}
    root = {"zarr_format": 3, "node_type": "group"}
    root |= {"attributes": {"ditscope_sweep": json.loads(MANIFEST % ds.__version__)}}
    assert json.loads(found.pop(ROOT)) == root
    assert found == {JOURNAL: LINES, "edits.json": "{}"}


def as_version_1(path) -> None:
    """As the first ditscope with sweeps wrote it."""
    root = json.loads((path / ROOT).read_text())
    manifest = root["attributes"]["ditscope_sweep"]
    manifest["version"] = 1
    del manifest["ditscope"], manifest["config"]["edits"]
    (path / ROOT).write_text(json.dumps(root))
    (path / "edits.json").unlink()
    lines = (path / JOURNAL).read_bytes().splitlines(keepends=True)
    (path / JOURNAL).write_bytes(b"".join(line for line in lines if b"checked" not in line))


def test_a_store_of_an_older_version_is_read_but_not_gone_on_with(tmp_path, outline) -> None:
    filled(tmp_path / "a", outline).checked()
    as_version_1(tmp_path / "a")
    before = (tmp_path / "a" / JOURNAL).read_bytes()
    assert len(read(tmp_path / "a").runs) == 2
    with pytest.raises(
        CacheError, match=r"of version 1, which an older ditscope wrote.*ds.open_sweep\(path\)"
    ):
        filled(tmp_path / "a", outline)
    assert (tmp_path / "a" / JOURNAL).read_bytes() == before


def test_a_manifest_that_lacks_something_is_named(tmp_path, outline) -> None:
    filled(tmp_path / "a", outline)
    root = json.loads((tmp_path / "a" / ROOT).read_text())
    del root["attributes"]["ditscope_sweep"]["outline"]["matched_to"]
    (tmp_path / "a" / ROOT).write_text(json.dumps(root))
    with pytest.raises(CacheError, match="of version 2 without 'matched_to'"):
        read(tmp_path / "a")
    root["attributes"]["ditscope_sweep"]["outline"]["matched_to"] = ["", ""]
    del root["attributes"]["ditscope_sweep"]["outline"]["metrics"][0]["binary"]
    (tmp_path / "a" / ROOT).write_text(json.dumps(root))
    with pytest.raises(CacheError, match="of version 2 without 'binary'"):
        ds.open_sweep(tmp_path / "a")


def test_the_journal_may_be_cut_off_anywhere(tmp_path, outline) -> None:
    filled(tmp_path / "a", outline)
    journal = tmp_path / "a" / JOURNAL
    whole = journal.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for at in {0, ends[0] - 1, ends[0], ends[0] + 1, ends[1] - 1, ends[1] + 5, ends[2] - 1, len(whole)}:
        journal.write_bytes(whole[:at])
        assert len(read(tmp_path / "a").runs) == sum(end <= at for end in ends[1:])
    journal.write_bytes(whole[: ends[2] - 4])
    filled(tmp_path / "a", outline)
    assert len(read(tmp_path / "a").runs) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: whole.replace(b"digest", b"DIGEST", 1), "line 1 of .* whose checksum is another"),
        (
            lambda whole: b"d202ef8d {}\n" + whole,
            "line 1 of .* that says nothing of this sweep|whose checksum",
        ),
    ],
)
def test_a_line_that_is_damaged_is_named(tmp_path, outline, damage, words) -> None:
    filled(tmp_path / "a", outline)
    journal = tmp_path / "a" / JOURNAL
    journal.write_bytes(damage(journal.read_bytes()))
    with pytest.raises(CacheError, match=words):
        read(tmp_path / "a")


def test_what_is_something_else_is_left_alone(tmp_path, outline) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("x")
    for name, attributes in (("cache", {"ditscope": {}}), ("group", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / ROOT).write_text(json.dumps({"zarr_format": 3, "attributes": attributes}))
    for name, words in (
        ("file", "a file at"),
        ("folder", "a folder with thesis.tex and no sweep"),
        ("cache", "a cache of hidden states"),
        ("group", "a zarr group of something else"),
    ):
        with pytest.raises(CacheError, match=words), opened(tmp_path / name, outline, {}, {}):
            pass
    for name in ("file", "folder", "group", "nothing"):
        with pytest.raises(CacheError, match="expected a store that ds.sweep made"):
            ds.open_sweep(tmp_path / name)
    assert sorted(each.name for each in (tmp_path / "folder").iterdir()) == ["thesis.tex"]


def test_a_sweep_is_no_cache(tmp_path, outline) -> None:
    filled(tmp_path / "a", outline)
    with pytest.raises(CacheError, match="a zarr group without a ditscope manifest"):
        ds.open_cache(tmp_path / "a")


def test_a_creation_that_was_cut_off_begins_again(tmp_path, outline) -> None:
    filled(tmp_path / "a", replace(outline, **KEPT))
    (tmp_path / "a" / ROOT).unlink()
    filled(tmp_path / "a", replace(outline, **KEPT))
    assert len(read(tmp_path / "a").runs) == 2


def test_one_process_at_a_time_goes_on_with_it(tmp_path, outline) -> None:
    with opened(tmp_path / "a", outline, {}, {}):
        with pytest.raises(CacheError, match="elsewhere"), opened(tmp_path / "a", outline, {}, {}):
            pass
        assert read(tmp_path / "a").runs == {}
