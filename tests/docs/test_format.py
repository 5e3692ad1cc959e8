"""``docs/format.md`` against what is written: its tables, its examples, and the reader in its appendix."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import threading
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import torch
import zarr

import ditscope as ds
from ditscope._version import commit
from ditscope.cache import open_cache, sample_ledger, verify
from ditscope.cache.schema import Schema
from ditscope.cache.zarr_metadata import zarr_files
from ditscope.errors import CacheError
from ditscope.recording.device_statistics import token_statistics
from ditscope.vocabulary import READ_STATISTICS

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
NAMES = ("bfloat16", "float32", "bfloat16 now", "float32 now")
"""The golden stores, and the same as they are recorded today."""


@pytest.fixture(params=[NAMES[:2], NAMES[2:]], ids=["golden", "now"])
def names(request):
    return request.param


def block(name):
    """The fenced block of a name."""
    found = re.findall(rf"<!-- {name} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1, name
    return found[0]


def table(name):
    """The rows of the table of a name: lists of cells, without the backticks of the first two."""
    found = re.findall(rf"<!-- {name} -->\n\|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE)
    assert len(found) == 1, name
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in found[0].splitlines()]
    return [[row[0].strip("`"), row[1].strip("`"), *row[2:]] for row in rows]


def edit_manifest(store, change):
    """Change the manifest of a store, and nothing else."""
    root = json.loads((store / "zarr.json").read_text())
    change(root["attributes"]["ditscope"])
    (store / "zarr.json").write_text(json.dumps(root))


def metadata(store):
    """Path of every array and group -> its metadata."""
    return {
        path.parent.relative_to(store).as_posix().removeprefix("."): json.loads(path.read_text())
        for path in store.rglob("zarr.json")
    }


def manifest_of(store):
    return metadata(store)[""]["attributes"]["ditscope"]


def lines(store):
    """Kind and content of every line of a journal."""
    journal = (store / sample_ledger.FILE).read_text().splitlines()
    contents = [json.loads(line.partition(" ")[2]) for line in journal]
    return [(content.pop("kind"), content) for content in contents]


def general_form(path, manifest):
    """A path of the store as the tables of groups and arrays have it."""
    parts = path.split("/")
    streams = {stream["name"] for stream in manifest["schema"]["streams"]}
    if parts[0] in streams:
        parts[0] = "<stream>"
        if len(parts) > 1 and parts[1] in {site["name"] for site in manifest["schema"]["sites"]}:
            parts[1] = "<site>"
    return "/".join(parts)


def kind_of(path, manifest):
    """The row of the table of files that has a file of the store."""
    groups = {group.lstrip("/") for group, *_ in table("groups")}
    labels = {label for label, *_ in table("labels")}
    folder, _, name = path.rpartition("/")

    def is_array(where):
        return where in manifest["arrays"]

    def is_label(where):
        group, _, label = where.rpartition("/")
        return label in labels and general_form(group, manifest) in groups and not is_array(where)

    def is_tensor(where):
        return re.fullmatch(r"call/t[0-9a-f]{16,128}", where)

    tests = {
        "zarr.json": path == "zarr.json",
        "<group>/zarr.json": name == "zarr.json"
        and bool(folder)
        and general_form(folder, manifest) in groups,
        "<array>/zarr.json": name == "zarr.json" and is_array(folder),
        "<label>/zarr.json": name == "zarr.json" and is_label(folder),
        "<label>/c.<n>": re.fullmatch(r"c\.\d+", name) and is_label(folder),
        "<array>/c.<sample>.<...>": re.fullmatch(r"c(\.\d+)+", name)
        and is_array(folder)
        and len(name.split(".")) == 2 + len(manifest["arrays"][folder]["dims"]),
        "done/ledger/journal.jsonl": path == sample_ledger.FILE,
        "call/t<digest>/zarr.json": name == "zarr.json" and is_tensor(folder),
        "call/t<digest>/c<...>": re.fullmatch(r"c(\.0)*", name) and is_tensor(folder),
    }
    assert list(tests) == [row[0] for row in table("files")]
    found = [kind for kind, holds in tests.items() if holds]
    assert len(found) == 1, (path, found)
    return found[0]


def test_every_file_is_in_one_row_and_every_row_has_a_file(golden, names) -> None:
    seen = set()
    for name in names:
        store, manifest = golden(name), manifest_of(golden(name))
        for path in store.rglob("*"):
            if path.is_file():
                seen.add(kind_of(path.relative_to(store).as_posix(), manifest))
    assert seen == {row[0] for row in table("files")}


def test_groups_have_their_labels_and_labels_are_as_written(golden, names) -> None:
    documented = {row[0].lstrip("/"): [set(cell.split()) for cell in row[1:3]] for row in table("groups")}
    labels = {row[0]: row[1:4] for row in table("labels")}
    seen = {group: set() for group in documented}
    for name in names:
        nodes, manifest = metadata(golden(name)), manifest_of(golden(name))
        for path, node in nodes.items():
            if node["node_type"] != "group":
                continue
            group = general_form(path, manifest)
            own = {
                label
                for label in labels
                if (at := f"{path}/{label}".lstrip("/")) in nodes and at not in manifest["arrays"]
            }
            always, some = documented[group]
            assert always <= own <= always | some, path
            seen[group] |= own
            coordinates = node["attributes"].get("coordinates", "").split()
            listed = {label for label in own if labels[label][0] != label}
            masks = {"token_mask"} & {
                at.rpartition("/")[2] for at in manifest["arrays"] if at.startswith(f"{path}/token")
            }
            assert set(coordinates) == listed | masks, path
            for label in own:
                node = nodes[f"{path}/{label}".lstrip("/")]
                dims, dtype, fill = labels[label]
                assert node["dimension_names"] == [dims]
                assert (node["data_type"], node["fill_value"]) == (dtype, json.loads(fill)), label
                rows = 1024 if dims == "sample" else max(1, *node["shape"])
                assert node["chunk_grid"]["configuration"]["chunk_shape"] == [rows]
    assert seen == {group: always | some for group, (always, some) in documented.items()}


def test_arrays_are_those_of_the_table(golden, names) -> None:
    documented = {row[0]: row[1:] for row in table("arrays")}
    seen = set()
    for name in names:
        manifest = manifest_of(golden(name))
        schema = manifest["schema"]
        sites = {f"{site['stream']}/{site['name']}": site for site in schema["sites"]}
        for path, array in manifest["arrays"].items():
            form = general_form(path, manifest)
            kind, dims, dtype, sharded = documented[form]
            site = sites.get("/".join(path.split("/")[:2]), {"dims": [None], "dtype": None})
            expected = {"those of the site": site["dims"][1:]}.get(dims, dims.split())
            assert (array["kind"], array["dims"]) == (kind, expected), path
            dtypes = {"that of the site": site["dtype"], "that of the schema": schema["dtype"]}
            assert array["dtype"] == dtypes.get(dtype, dtype), path
            assert array["sharded"] == (sharded == "yes"), path
            seen.add(form)
    assert seen == documented.keys()


def expected_metadata(array, samples, attributes):
    """An array's metadata as the page describes it."""
    example = json.loads(block("array metadata"))
    sharding = example["codecs"][0]["configuration"]
    inner = json.loads(block("compressed codecs")) if array["compression"] else sharding["codecs"]
    size = {"bfloat16": 2, "uint8": 1, "bool": 1}.get(array["dtype"], 4)
    if size == 1:
        inner[0] = {"name": "bytes"}
    for codec in inner:
        if codec["name"] == "blosc":
            codec["configuration"]["typesize"] = size
    sharding |= {"codecs": inner, "chunk_shape": [1, *array["chunk"]]}
    floating = array["dtype"] in ("bfloat16", "float16", "float32")
    return {
        **example,
        "shape": [samples, *array["shape"]],
        "data_type": array["dtype"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *array["shard"]]}},
        "fill_value": "NaN" if floating else array["dtype"] != "bool" and 0,
        "codecs": example["codecs"] if array["sharded"] else inner,
        "attributes": attributes,
        "dimension_names": ["sample", *array["dims"]],
    }


def test_metadata_is_as_described(golden) -> None:
    nodes = metadata(golden("bfloat16"))
    assert nodes["image/block_output/hidden"] == json.loads(block("array metadata"))
    sharding = metadata(golden("float32"))["image/block_output/hidden"]["codecs"][0]
    assert sharding["configuration"]["codecs"] == json.loads(block("compressed codecs"))
    for name in NAMES:
        nodes, manifest = metadata(golden(name)), manifest_of(golden(name))
        for path, array in manifest["arrays"].items():
            own = path.split("/")[:2] if array["kind"] in ("tensors", "modulation") else ()
            expected = expected_metadata(array, 2, dict(zip(("stream", "site"), own, strict=False)))
            assert json.dumps(nodes[path], sort_keys=True) == json.dumps(expected, sort_keys=True), path
        strings = {"name": "vlen-utf8", "configuration": {}}
        assert nodes["prompt"]["codecs"] == [strings, {"name": "crc32c"}]
        has_bfloat16 = any(node.get("data_type") == "bfloat16" for node in nodes.values())
        assert ("consolidated_metadata" in nodes[""]) is not has_bfloat16


def fields_in(value, known, path=""):
    """Every field of a JSON value, as the tables name them; what is below a field that ends in ``*`` is left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            own = f"{path}.{name}".lstrip(".")
            if own not in known and not any(
                k.startswith(f"{own}.") or k.startswith(f"{own}[") for k in known
            ):
                own = f"{path}.*"
            yield own
            yield from fields_in(inner, known, own) if f"{own}.*" in known or nested(own, known) else ()
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                yield from fields_in(inner, known, f"{path}[]")


def nested(field, known):
    return any(k.startswith((f"{field}.", f"{field}[].")) for k in known)


def parents(fields):
    """Fields, and those that they are in."""
    return {part for field in fields for part in (field, *_containers(field))}


def _containers(field):
    parts = field.split(".")
    return [".".join(parts[:n]).removesuffix("[]") for n in range(1, len(parts))]


def test_the_manifest_has_the_fields_of_the_table(golden, names) -> None:
    known = parents(row[0] for row in table("manifest"))
    seen = set()
    for name in names:
        seen |= set(fields_in(manifest_of(golden(name)), known))
    assert seen == known


def test_a_recording_says_of_its_model_what_the_table_says(tmp_path) -> None:
    with (
        ds.load("shapes") as dit,
        ds.record(dit, tmp_path / "a", blocks=[0], steps=[0], tensors=False) as rec,
    ):
        cache = rec.generate("a red circle", num_inference_steps=1, height=64, width=64)
    assert cache.manifest["config"].keys() == {row[0] for row in table("config")}
    environment = cache.manifest["environment"]
    assert environment.keys() - {"ditscope_commit"} == {"created", "versions", "device"}
    assert environment.get("ditscope_commit") == commit()


def test_lines_of_the_journal_have_the_fields_of_the_table(golden, names) -> None:
    known: dict[str, set] = {}
    for kind, field, *_ in table("journal"):
        known.setdefault(kind, set()).add(field)
    seen = {kind: set() for kind in known}
    for name in names:
        for kind, content in lines(golden(name)):
            seen[kind] |= set(fields_in(content, parents(known[kind])))
    assert seen == {kind: parents(fields) for kind, fields in known.items()}


def test_the_example_lines_are_those_of_a_store(golden) -> None:
    example = block("journal lines")
    journal = (golden("float32") / sample_ledger.FILE).read_text()
    for line in example.splitlines():
        checksum, _, text = line.partition(" ")
        assert int(checksum, 16) == google_crc32c.value(text.encode("ascii"))
    assert set(example.splitlines()) <= set(journal.splitlines()) | set(
        (golden("bfloat16") / sample_ledger.FILE).read_text().splitlines()
    )
    kinds = [json.loads(line.partition(" ")[2])["kind"] for line in example.splitlines()]
    assert set(kinds) == {kind for kind, *_ in table("journal")}


# --- the order of writing


class Seam:
    """``os`` as the store's files use it, and what was done by it: (operation, path), in order."""

    def __init__(self, before=lambda event: None) -> None:
        self.events, self._paths, self._before = [], {}, before

    def __getattr__(self, name):
        return getattr(os, name)

    def _note(self, operation, path):
        event = (operation, Path(path))
        if event not in self.events[-1:]:
            self._before(event)
            self.events.append(event)

    def open(self, path, flags, *mode):
        handle = os.open(path, flags, *mode)
        self._paths[handle] = path
        return handle

    def write(self, handle, data):
        self._note("write", self._paths[handle])
        return os.write(handle, data)

    def fsync(self, handle):
        self._note("sync", self._paths[handle])

    def makedirs(self, path, **more):
        self._note("make", path)
        os.makedirs(path, **more)

    def rename(self, old, new):
        self._note("rename", new)
        os.rename(old, new)

    def unlink(self, path):
        if os.path.lexists(path):
            self._note("remove", path)
        os.unlink(path)


def place_of(path, store, manifest, order):
    """What a path is, in the words of the tables of orders."""
    if path == store:
        return "the store"
    if path == store.parent:
        return "the folder that it is in"
    inside = (
        path.relative_to(store)
        if path.is_relative_to(store)
        else Path(*path.relative_to(store.parent).parts[1:])
    )
    name = re.sub(r"(^|/)\.([^/]+)\.partial$", r"\1\2", inside.as_posix())
    if "." not in Path(name).name:
        is_data = order == "commit order" and name in manifest["arrays"]
        return "their folders" if is_data else "folders"
    if name == sample_ledger.FILE:
        return "the journal"
    if name.startswith("done/c."):
        return "`done`"
    kind = kind_of(name, manifest)
    if kind == "<array>/c.<sample>.<...>":
        return "data files"
    if order == "growth order":
        return "the root's metadata" if name == "zarr.json" else "metadata of arrays, labels and groups"
    return "all files of metadata and labels"


def phases(order, events, store, manifest):
    """The row of each event; each must be in one."""
    rows = table(order)
    found = []
    for operation, path in events:
        place = place_of(path, store, manifest, order)
        own = [
            number
            for number, row in enumerate(rows)
            if operation in re.split(r",? ", row[0]) and place.strip("`") in row[1].replace("`", "")
        ]
        assert len(own) == 1, (operation, path, place, own)
        found.append(own[0])
    return found


def check_order(order, events, store, manifest):
    found = phases(order, events, store, manifest)
    assert found == sorted(found), (order, found)
    assert set(found) == set(range(len(table(order)))), order


@pytest.fixture
def watched(monkeypatch):
    """Watch what is done to files from now on: ``watched()`` gives the seam."""

    def start(*before):
        seam = Seam(*before)
        monkeypatch.setattr("ditscope.cache.files.os", seam)
        return seam

    return start


def test_a_store_is_made_and_grows_in_the_order_of_the_tables(
    golden, golden_module, tmp_path, watched
) -> None:
    manifest = manifest_of(golden("float32"))
    store = (tmp_path / "a.zarr").resolve()
    schema = Schema.from_json(manifest["schema"])
    seam = watched()
    create = golden_module.CacheWriter.create_or_resume
    create(store, schema, manifest).close()
    last = max(number for number, (_, path) in enumerate(seam.events) if path == store.parent) + 1
    check_order("creation order", seam.events[:last], store, manifest)

    grown = golden("float32", copy=tmp_path / "b.zarr").resolve()
    seam = watched()
    more = [golden_module.SampleSpec("a blue square", 3)]
    with create(grown, schema, manifest, more, {"0" * 16: np.zeros((2, 2), "f4")}):
        check_order("growth order", seam.events, grown, manifest)


@pytest.mark.parametrize("order", ["commit order", "drop order"])
def test_a_sample_is_committed_and_dropped_in_the_order_of_the_tables(
    golden, golden_module, tmp_path, watched, order
) -> None:
    """And counts after a crash as the table says, which is a copy of the store at the row's first operation."""
    store = golden("bfloat16", copy=tmp_path / "a.zarr").resolve()
    manifest, rows = manifest_of(store), table(order)
    seen, lock = set(), threading.Lock()

    def look(event):
        (row,) = phases(order, [event], store, manifest)
        with lock:
            if row not in seen:
                seen.add(row)
                shutil.copytree(store, tmp_path / f"{row}")

    with golden_module.resumed(store) as writer:
        seam = watched(look)
        if order == "commit order":
            sample = 1
            golden_module.commit(writer, sample)
        else:
            sample = 0
            writer.drop(sample)
    check_order(order, seam.events, store, manifest)
    for number, row in enumerate(rows):
        committed = open_cache(tmp_path / f"{number}").committed
        assert (sample in committed) == (row[2] == "yes"), row


# --- reading


def swap_files(store):
    folder = store / "image" / "block_output" / "hidden"
    one, other = (folder / f"c.{sample}.0.0.0.0.0" for sample in range(2))
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])


def flip(store):
    path = first_file(store)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)


def first_file(store):
    return min((store / "image" / "block_output" / "hidden").glob("c.0.*"))


def link(store):
    folder = store / "image" / "block_output" / "hidden"
    folder.rename(store.parent / "elsewhere")
    folder.symlink_to(store.parent / "elsewhere")


def other_hash(name):
    """Give the journal's first line, with a checksum that is right, another hash."""

    def change(store):
        first, *others = (store / sample_ledger.FILE).read_bytes().splitlines(keepends=True)
        content = {**json.loads(first[9:]), name: "0" * 64}
        kind = content.pop("kind")
        (store / sample_ledger.FILE).write_bytes(b"".join([sample_ledger.line(kind, content), *others]))

    return change


def known_to_the_journal(change):
    """Change the manifest, and let the journal know it as it is then."""

    def both(store):
        edit_manifest(store, change)
        others = (store / sample_ledger.FILE).read_bytes().splitlines(keepends=True)[1:]
        first = sample_ledger.first_line(manifest_of(store))
        (store / sample_ledger.FILE).write_bytes(b"".join([first, *others]))

    return both


def change_array(**fields):
    return known_to_the_journal(
        lambda manifest: manifest["arrays"]["image/block_output/hidden"].update(fields)
    )


def change(**fields):
    return lambda store: edit_manifest(store, lambda manifest: manifest.update(fields))


REFUSED = {
    "another `format`, or none": change(format="other"),
    "another `version`": change(version=2),
    "an unknown name in `requires`": change(requires=["frames"]),
    "another field in the manifest, its schema or its arrays, or one that is not there": change(more=1),
    "a schema or config whose hash is not `config_hash`": change(config={}),
    "arrays of another kind, dims, shape or dtype than the schema has, one more, or one less": [
        change_array(kind="modulation"),
        change_array(dims=["step", "branch", "block", "token", "other"]),
        change_array(shape=[2, 2, 3, 3, 35]),
        change_array(dtype="float16"),
        known_to_the_journal(lambda manifest: manifest["arrays"].pop("text/token_mask")),
        known_to_the_journal(
            lambda manifest: manifest["arrays"].update(images=manifest["arrays"]["text/token_mask"])
        ),
    ],
    "a journal of another `config_hash` or `manifest_hash`": [
        other_hash("config_hash"),
        other_hash("manifest_hash"),
        lambda store: edit_manifest(store, lambda manifest: manifest["environment"].update(device="other")),
    ],
    "a journal without a whole line": lambda store: os.truncate(store / sample_ledger.FILE, 40),
    "a folder of an array, or the ledger's, that is missing or a link": link,
    "lengths that make no array, or none that can be read": lambda store: edit_manifest(
        store, lambda manifest: manifest["arrays"]["image/block_output/hidden"].update(chunk=[2**20] * 5)
    ),
}
CHECKED = {
    "a missing file": lambda store: first_file(store).unlink(),
    "a file that is cut short": lambda store: os.truncate(first_file(store), 100),
    "a changed byte of a chunk": flip,
    "a file in another's place, of the same sample or another": swap_files,
}


def more_fields(store):
    kept = []
    for kind, content in lines(store):
        kept.append(sample_ledger.line(kind, {**content, "more": [1]}))
    (store / sample_ledger.FILE).write_bytes(b"".join(kept))


def spoil_mirrors(store):
    for path in [store / "done" / "c.0", store / "image" / "block_output" / "zarr.json"]:
        path.write_bytes(b"")


IGNORED = {
    "groups, arrays and files that the manifest does not name": lambda store: (
        (store / "image" / "more").mkdir() or (store / "more.txt").write_text("more")
    ),
    "other attributes of any group": lambda store: (store / "zarr.json").write_text(
        (store / "zarr.json").read_text().replace('"attributes": {', '"attributes": {"more": 1,', 1)
    ),
    "unknown fields of journal lines": more_fields,
    "the checksums and the metadata that plain readers need, labels and `done`": spoil_mirrors,
    "what is behind the last `\\n` of the journal": lambda store: (
        (store / sample_ledger.FILE).open("ab").write(b'00000000 {"kind":"drop","sample":0}')
    ),
    "data files of samples that are not committed": lambda store: (
        store / "image" / "block_output" / "hidden" / "c.1.0.0.0.0.0"
    ).write_bytes(b"x"),
}


def test_the_tables_of_reading_are_tested_whole() -> None:
    for name, tested in (("refused", REFUSED), ("checked", CHECKED), ("ignored", IGNORED)):
        rows = re.findall(rf"<!-- {name} -->\n\|.*\n.*\n((?:\|.*\n)+)", PAGE)[0].splitlines()
        assert [row.strip("| ").split(" |")[0] for row in rows] == list(tested), name


@pytest.mark.parametrize("what", REFUSED)
def test_what_must_be_refused_is(golden, tmp_path, what) -> None:
    ways = REFUSED[what]
    for number, spoil in enumerate(ways if isinstance(ways, list) else [ways]):
        store = golden("float32", copy=tmp_path / f"{number}.zarr")
        spoil(store)
        with pytest.raises(CacheError):
            open_cache(store)


def test_a_writer_refuses_a_journal_that_lacks_what_done_names(golden, golden_module, tmp_path) -> None:
    store = golden("bfloat16", copy=tmp_path / "a.zarr")
    journal = (store / sample_ledger.FILE).read_bytes().splitlines(keepends=True)
    (store / sample_ledger.FILE).write_bytes(b"".join(journal[:-1]))
    with pytest.raises(CacheError, match="without sample 0, which was committed"):
        golden_module.resumed(store)
    assert any((store / "image/block_output/hidden").glob("c.0.*"))


def test_the_first_line_of_a_journal_and_no_other_is_of_the_kind_journal(golden, tmp_path) -> None:
    store = golden("bfloat16", copy=tmp_path / "a.zarr")
    first, second, *others = (store / sample_ledger.FILE).read_bytes().splitlines(keepends=True)
    (store / sample_ledger.FILE).write_bytes(b"".join([second, first, *others]))
    with pytest.warns(UserWarning, match="the first line, and no other"):
        cache = open_cache(store)
    assert [line.split(" of ")[0] for line in cache.damaged_lines] == ["line 1", "line 2"]
    assert cache.committed == (0,)
    names: dict = {}
    exec(block("reader"), names)
    with pytest.raises((AssertionError, KeyError)):
        names["read"](store, "images", 0)


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("what", CHECKED)
def test_what_must_be_checked_is(golden, tmp_path, what, name) -> None:
    store = golden(name, copy=tmp_path / "a.zarr")
    CHECKED[what](store)
    cache = open_cache(store)
    with pytest.raises(CacheError, match="sample 0"):
        cache.hidden().values  # noqa: B018
    assert np.isfinite(cache.stats()["mean"]).all()  # of what is whole
    if name == "bfloat16":
        names: dict = {}
        exec(block("reader"), names)
        with pytest.raises((AssertionError, OSError)):
            names["read"](store, "image/block_output/hidden", 0)


@pytest.mark.parametrize("what", IGNORED)
def test_what_must_be_ignored_is(golden, tmp_path, what) -> None:
    expected = open_cache(golden("float32")).hidden().values
    store = golden("float32", copy=tmp_path / "a.zarr")
    IGNORED[what](store)
    found = open_cache(store)
    assert found.committed == (0,)
    np.testing.assert_array_equal(found.hidden().values, expected)


def test_a_store_is_what_follows_from_manifest_and_journal(golden) -> None:
    for name in NAMES:
        store = golden(name)
        cache = open_cache(store)
        written = zarr_files(cache.schema, cache.plans, cache.manifest, cache.whole_ledger)
        left = {
            path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()
        } - written.keys()
        kinds = {kind_of(path, cache.manifest) for path in left}
        assert kinds == {"<array>/c.<sample>.<...>", "done/ledger/journal.jsonl"}


def test_the_reader_of_the_page_reads_what_was_recorded(golden, tmp_path) -> None:
    code = block("reader")
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == {"base64", "hashlib", "itertools", "json", "math", "struct", "numpy"}
    names: dict = {}
    exec(code, names)
    for store in map(golden, NAMES):
        cache = open_cache(store)
        for path, plan in cache.plans.items():
            if plan.compression is None:
                found = names["read"](store, path, 0)
                expected = cache._stored(path, [0])[0]
                np.testing.assert_array_equal(found, expected.view(f"u{expected.itemsize}"), err_msg=path)
        with pytest.raises((KeyError, TypeError)):
            names["read"](store, next(iter(cache.plans)), 1)
    dropped = golden("bfloat16", copy=tmp_path / "a.zarr")
    with (dropped / sample_ledger.FILE).open("ab") as file:
        file.write(sample_ledger.line("drop", {"sample": 0}))
    with pytest.raises(TypeError):
        names["read"](dropped, "images", 0)


def test_statistics_are_those_of_the_table_and_merge() -> None:
    assert tuple(row[0] for row in table("statistics")) == READ_STATISTICS
    names: dict = {"np": np}
    exec(block("merge"), names)
    values = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7) + 3
    values[5, 2], values[30, 4] = math.inf, torch.finfo(torch.float32).max / 1e30

    def reduced(part):
        return dict(zip(READ_STATISTICS, token_statistics(part[None])[0].numpy().astype(float), strict=True))

    merged, whole = names["merge"](reduced(values[:25]), reduced(values[25:])), reduced(values)
    for name in READ_STATISTICS:
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-5, err_msg=name)
    given = values.numpy()
    finite = np.where(np.isfinite(given), given, np.nan).astype(float)
    for name, by_definition in {
        "mean": np.nanmean(finite, 0),
        "mean_abs": np.nanmean(abs(finite), 0),
        "std": np.sqrt(np.nanmean((finite - np.nanmean(finite, 0)) ** 2, 0)),
        "abs_max": np.nanmax(abs(finite), 0),
        "nonfinite": (~np.isfinite(given)).sum(0),
        "count": np.full(6, 40),
    }.items():
        np.testing.assert_allclose(whole[name], by_definition, rtol=1e-5, err_msg=name)


def test_golden_stores_verify(golden) -> None:
    for name in NAMES:
        report = verify(golden(name))
        assert report.ok, report


@pytest.mark.filterwarnings("ignore")
def test_a_plain_reader_takes_what_is_gone_for_fill_values_and_does_not_notice_a_swap(
    golden, tmp_path
) -> None:
    store = golden("float32", copy=tmp_path / "a.zarr")
    whole = zarr.open_array(store / "image/block_output/hidden", mode="r")[...]
    assert np.isfinite(whole[0, 0, :, 0]).all()
    swap_files(store)
    (store / "image/block_output/hidden/c.0.0.1.0.0.0").unlink()
    (store / "prompt" / "c.0").unlink()
    (store / "seed" / "c.0").unlink()
    found = zarr.open_array(store / "image/block_output/hidden", mode="r")[...]
    np.testing.assert_array_equal(found[0, 0, 0, 0], whole[1, 0, 0, 0])
    assert np.isnan(found[0, 0, 1, 0]).all()
    root = zarr.open_group(store, mode="r")
    assert root["done"][...].tolist() == [True, False]
    assert root["prompt"][...].tolist() == ["(missing)"] * 2
    assert root["seed"][...].tolist() == [-(2**63)] * 2
