"""Damage, one file at a time: verify names it, and no read returns a wrong number."""

import itertools
import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from small_recording import SMALL
from store_recording import bits

from ditscope.cache import open_cache
from ditscope.cache.sample_ledger import FILE
from ditscope.cache.verification import verify
from ditscope.errors import CacheError

FIRST = re.compile(r"c\.1(\.0)*$")
DATA = re.compile(r"(.*)/c\.(\d+)\.")


def arrays_of(path, samples):
    """Everything that samples have, by sample and array; an error in its place where it cannot be read."""
    cache, found = open_cache(path), {}
    read = {}
    for site in cache.schema.sites:
        own = {"stream": site.stream, "site": site.name}
        read[f"{site.folder}/{'hidden' if site.has_tokens else 'values'}"] = lambda own=own: cache.hidden(
            **own
        )
        if site.has_tokens:
            read[f"{site.folder}/statistics/over_tokens"] = lambda own=own: cache.stats(**own).to_dataarray()
    for stream in cache.schema.streams:
        if not stream.has_grid:
            read[f"{stream.name}/token_mask"] = lambda: cache.hidden("text")["token_mask"]
    if cache.schema.trajectory is not None:
        for name in ("latents", "transformer_output"):
            read[f"trajectory/{name}"] = lambda name=name: cache.trajectory[name]
    read["images"] = lambda: cache.images
    assert set(read) == set(cache.plans)
    for sample, (array, values) in itertools.product(samples, read.items()):
        try:
            found[sample, array] = bits(values().sel(sample=sample).values)
        except CacheError as error:
            found[sample, array] = error
    return found


@pytest.fixture(params=["small", "every_array", "compressed"])
def complete(request):
    return request.getfixturevalue(f"complete_{request.param}")


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def cut(path, _):
    path.write_bytes(path.read_bytes()[:-1])


def remove(path, _):
    path.unlink()


@pytest.mark.parametrize("harm", [flip, cut, remove])
def test_every_file_in_turn(tmp_path, complete, harm):
    path = Path(shutil.copytree(complete, tmp_path / "a.zarr"))
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    schema = open_cache(path).schema
    kept = arrays_of(path, (0, 1))
    for turn, name in enumerate(names):
        file = path / name
        whole = file.read_bytes()
        match = DATA.match(name)
        if schema != SMALL and (match is None or match[2] != "1" or not FIRST.search(name)):
            continue  # what does not differ from the small store
        offsets = (0, len(whole) // 2, len(whole) - 1)
        for offset in (
            offsets if schema == SMALL and FIRST.search(name) and harm is flip else offsets[turn % 3 :][:1]
        ):
            harm(file, offset)
            if name == FILE:
                assert_ledger_named(path, whole)
            elif name == "zarr.json":
                assert_root_named(path)
            else:
                report = verify(path)
                assert {damage.file for damage in report.damaged} == {name}, (name, offset)
                if match:
                    assert_named(report, match, schema)
                    assert_never_wrong(path, kept, match)
            file.write_bytes(whole)
    assert verify(path).ok


def assert_named(report, match, schema):
    labels = report.damaged[0].labels
    assert labels["sample"] == int(match[2])
    assert labels["array"] == match[1]
    if match[1] != "images":
        assert {"stream"} <= set(labels) or match[1].startswith("trajectory")
    if "block_output" in match[1]:
        assert {"site", "step", "branch", "block"} <= set(labels)


def assert_never_wrong(path, kept, match):
    for (sample, array), values in arrays_of(path, (0, 1)).items():
        if isinstance(values, CacheError):
            assert match, (array, values)
            assert f"array {match[1]}," in str(values)
            assert f"sample {match[2]}" in str(values)
        else:
            np.testing.assert_array_equal(values, kept[sample, array])


def assert_ledger_named(path, whole):
    if not (path / FILE).exists():
        with pytest.raises(CacheError, match="ledger"):
            verify(path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = verify(path)
    assert any("journal" in damage.file or damage.file.startswith("done/") for damage in report.damaged)


def assert_root_named(path):
    try:
        found = {damage.file for damage in verify(path).damaged}
    except CacheError as error:
        found = {"zarr.json"} if str(path) in str(error) else {str(error)}
    assert found == {"zarr.json"}


@pytest.mark.parametrize(
    ("one", "other"), [("c.0.0.0.0.0.0", "c.1.0.0.0.0.0"), ("c.0.0.0.0.0.0", "c.0.1.0.0.0.0")]
)
def test_swapped_files_are_named_and_not_read(store, one, other):
    folder = store / "image/block_output/hidden"
    a, b = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(b)
    (folder / other).write_bytes(a)
    assert {damage.file.rpartition("/")[2] for damage in verify(store).damaged} == {one, other}
    with pytest.raises(CacheError, match="sample 0.*checksum"):
        open_cache(store).hidden().sel(sample=0).load()


def test_a_file_that_goes_after_opening_is_an_error_and_no_fill_value(store):
    cache = open_cache(store)
    for file in (store / "image/block_output/statistics/over_tokens").glob("c.1.*"):
        file.unlink()
    with pytest.raises(CacheError, match="sample 1"):
        cache.stats()["mean"].load()
    assert np.isfinite(cache.stats()["mean"].sel(sample=0).load()).all()


@pytest.mark.parametrize("part", ["schema", "arrays", "config", "environment"])
def test_a_manifest_that_was_edited_is_refused(store, part):
    root = json.loads((store / "zarr.json").read_text())
    manifest = root["attributes"]["ditscope"]
    if part == "schema":
        manifest["schema"]["steps"].reverse()
    elif part == "arrays":
        plan = manifest["arrays"]["image/block_output/hidden"]
        plan["chunk"][3:], plan["shard"][3:] = [2, 36], [4, 36]
    else:
        manifest[part]["device" if part == "environment" else "model"] = "another"
    (store / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(CacheError, match="altered|order"):
        open_cache(store)


@pytest.mark.parametrize("number", range(5))
def test_a_damaged_line_of_the_ledger_is_named_and_the_others_count(store, number):
    lines = (store / FILE).read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    lines[number] = lines[number].replace(b"c", b"k", 1).replace(b'"', b"'", 1)
    (store / FILE).write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=f"line {number + 1} of"):
        cache = open_cache(store)
    assert cache.committed == tuple(sample for sample in range(3) if sample != number - 2)
    with pytest.warns(UserWarning, match="damaged"):
        report = verify(store)
    assert any(f"line {number + 1} of" in damage.reason for damage in report.damaged)
    assert np.isfinite(cache.hidden().astype("float32")).all()
