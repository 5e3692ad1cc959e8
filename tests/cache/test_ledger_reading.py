import json

import google_crc32c
import numpy as np
import pytest
from ledger_lines import content_of, ledger_of, lines_of
from store_recording import (
    open_writer,
    record,
)

from ditscope.cache import open_cache, verify
from ditscope.cache.ledger_reading import read_ledger
from ditscope.cache.sample_ledger import FILE, line
from ditscope.errors import CacheError

HIDDEN = "image/block_output/hidden"


def test_what_was_cut_off_while_it_was_written_counts_for_nothing(store):
    lines = lines_of(store)
    for torn in (b"".join(lines)[:-1], b"".join(lines)[: -len(lines[-1]) + 1]):
        (store / FILE).write_bytes(torn)
        ledger = ledger_of(store)
        assert set(ledger.entries) == {0}
        assert ledger.damaged == []
        assert ledger.end == sum(map(len, lines[:-1]))
    with pytest.raises(CacheError, match="a ledger at .* without sample 1, which was committed"):
        record(store)  # which would remove the files of a sample that was whole
    assert sorted((store / "images").glob("c.1.*"))
    (store / "done/c.0").unlink()  # as it is where the line was cut off while it was written
    record(store)
    assert [content_of(text)["kind"] for text in lines_of(store)] == [
        "journal",
        "samples",
        "commit",
        "commit",
    ]
    assert verify(store).ok


def test_every_prefix_of_a_journal_is_what_it_was_then(store):
    content = (store / FILE).read_bytes()
    manifest, plans = open_cache(store).manifest, open_cache(store).plans
    ends = np.cumsum([len(text) for text in lines_of(store)])
    for size in [*range(0, len(content), 97), *ends, *(ends - 1)]:
        (store / FILE).write_bytes(content[:size])
        whole = int((ends <= size).sum())
        if whole == 0:
            with pytest.raises(CacheError, match="a ledger without a whole line"):
                read_ledger(store, manifest, plans)
            continue
        ledger = read_ledger(store, manifest, plans)
        assert (len(ledger.samples), len(ledger.entries)) == (2 if whole > 1 else 0, max(0, whole - 2))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_line_is_named_and_the_others_count(store, number):
    lines = lines_of(store)
    lines[number - 1] = lines[number - 1].replace(b":", b";", 1)
    (store / FILE).write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=f"line {number} of {FILE}: its checksum does not fit"):
        cache = open_cache(store)
    assert cache.committed == ((1,) if number == 3 else (0, 1))
    assert [spec.prompt for spec in cache.specs] == ["a red circle", "ein grünes Dreieck"]


def test_samples_whose_names_are_lost_are_not_taken_for_others(store):
    lines = lines_of(store)
    (store / FILE).write_bytes(lines[0] + lines[1][:9] + b"x" + lines[1][10:] + lines[3])
    with pytest.warns(UserWarning, match="line 2"):
        cache = open_cache(store)
    assert cache.committed == (1,)
    assert cache.specs[0].prompt == "(unknown)"
    with open_writer(store) as writer:
        assert writer.positions == [2, 1]


def test_a_dropped_sample_counts_again_once_it_is_committed_again(store):
    lines = lines_of(store)
    drop = line("drop", {"sample": 0})
    (store / FILE).write_bytes(b"".join(lines) + drop)
    assert set(ledger_of(store).entries) == {1}
    (store / FILE).write_bytes(b"".join(lines) + drop + lines[2])
    assert set(ledger_of(store).entries) == {0, 1}


@pytest.mark.parametrize("first", [{"manifest_hash": "0" * 64}, {"version": 2}])
def test_the_ledger_of_another_recording_is_refused(store, first):
    lines = lines_of(store)
    content = {**content_of(lines[0]), **first}
    del content["kind"]
    (store / FILE).write_bytes(line("journal", content) + b"".join(lines[1:]))
    with pytest.raises(CacheError, match="a ledger that belongs to another manifest"):
        open_cache(store)


def test_a_second_beginning_is_named(store):
    lines = lines_of(store)
    (store / FILE).write_bytes(b"".join(lines + lines))
    with pytest.warns(UserWarning, match="line 5 .*: the first line, and no other"):
        assert open_cache(store).committed == (0, 1)


def test_no_ledger_is_an_error(store):
    (store / FILE).unlink()
    with pytest.raises(CacheError, match=r"no readable ledger .*journal.jsonl \(No such file"):
        open_cache(store)


HOSTILE = {
    "unknown kind": {"kind": "surprise"},
    "no kind": {},
    "negative samples": {"kind": "samples", "first": -1, "samples": []},
    "far samples": {"kind": "samples", "first": 2**60, "samples": [{"prompt": "", "seed": 0}]},
    "no samples": {"kind": "samples", "first": 2, "samples": 3},
    "odd sample": {"kind": "samples", "first": 2, "samples": [{"prompt": 3, "seed": 0}]},
    "infinite": {"kind": "drop", "sample": float("inf")},
    "no number": {"kind": "drop", "sample": [0]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_lines_that_make_no_sense_are_named(store, name):
    with (store / FILE).open("ab") as journal:
        text = json.dumps(HOSTILE[name]).encode()
        journal.write(b"%08x %b\n" % (google_crc32c.value(text), text))
    with pytest.warns(UserWarning, match=f"line 5 of {FILE}"):
        cache = open_cache(store)
    assert cache.committed == (0, 1)
    assert len(cache.specs) == 2


@pytest.mark.parametrize("text", [b"", b"x", b"[1]", b"[" * 100_000, b"\xff", b"{"])
def test_lines_that_are_no_json_object_are_named(store, text):
    with (store / FILE).open("ab") as journal:
        journal.write(b"%08x %b\n" % (google_crc32c.value(text), text))
    with pytest.warns(UserWarning, match=f"line 5 of {FILE}"):
        assert open_cache(store).committed == (0, 1)


def test_positions_beyond_all_samples_are_refused(store):
    with (store / FILE).open("ab") as journal:
        journal.write(line("samples", {"first": 10**9, "samples": [{"prompt": "", "seed": 0}]}))
    with pytest.raises(CacheError, match="sample 1000000000 among 3"):
        open_cache(store)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["files"].update({"../../etc/passwd": {"crc32c": ""}}),
        lambda entry: entry["files"].popitem(),
        lambda entry: entry["files"][HIDDEN].update(crc32c="AAAA"),
        lambda entry: entry["files"][HIDDEN].update(crc32c="no base64"),
        lambda entry: entry["files"][HIDDEN].update(sizes=[1]),
        lambda entry: entry.update(sample=-1),
        lambda entry: entry.update(sample="many"),
        lambda entry: entry.pop("files"),
        lambda entry: entry.update(files=[1]),
        lambda entry: entry.update(nonfinite={"image/block_output": "many"}),
        lambda entry: entry.update(saturated={"image/block_output": {"0": {"3": "many"}}}),
        lambda entry: entry.update(saturated={"image/block_output": 3}),
        lambda entry: entry.update(text={"cut": {"text_encoder": 1}}),
        lambda entry: entry.update(text=["text_encoder"]),
        lambda entry: entry.update(text=0),
        lambda entry: entry.update(spec={"prompt": "a"}),
    ],
)
def test_an_entry_that_does_not_fit_the_store_is_named_and_not_taken(store, change):
    lines = lines_of(store)
    entry = content_of(lines[2])
    change(entry)
    del entry["kind"]
    (store / FILE).write_bytes(lines[0] + lines[1] + line("commit", entry) + lines[3])
    with pytest.warns(UserWarning, match=f"line 3 of {FILE}"):
        assert open_cache(store).committed == (1,)
