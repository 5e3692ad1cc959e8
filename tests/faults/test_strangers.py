"""Stores from strangers: refused by name, in bounded time and memory, with nothing outside of them touched."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_recording import SAMPLES, record

from ditscope.cache import SampleSpec, open_cache
from ditscope.cache.manifest import _config_hash
from ditscope.cache.sample_ledger import FILE, first_line, line
from ditscope.cache.verification import verify
from ditscope.errors import DitscopeError
from patience import SECONDS

FOLDERS = ("image", "image/block_output", "image/block_output/hidden", "done", "done/ledger", "prompt")
FILES = (
    "zarr.json",
    FILE,
    "image/block_output/hidden/c.0.0.0.0.0.0",
    "prompt/c.0",
    "done/c.0",
    "images/c.0.0.0.0",
)


def change_manifest(store, change):
    """Change a manifest as somebody does who makes every hash fit."""
    root = json.loads((store / "zarr.json").read_text())
    manifest = root["attributes"]["ditscope"]
    change(manifest)
    manifest["config_hash"] = _config_hash(manifest["schema"], manifest["config"])
    (store / "zarr.json").write_text(json.dumps(root))
    lines = (store / FILE).read_bytes().splitlines(keepends=True)
    (store / FILE).write_bytes(b"".join([first_line(manifest), *lines[1:]]))


def use(store, actions=None):
    """What comes of everything that somebody does with a store; errors must be ditscope's own, and say what is what."""
    found = []
    for action in actions or (open_cache, verify, record, first_sample):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(outcome(action, store))
    return found


def outcome(action, store):
    try:
        result = action(store)
    except DitscopeError as error:
        return error if all((error.found, error.expected, error.remedy)) else AssertionError(error)
    if action is open_cache:
        repr(result), result.samples, result.nonfinite, result.saturated, result.hidden(), result.stats()
    return result


def first_sample(store):
    return open_cache(store).hidden().isel(sample=slice(1)).load()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_a_link_leads_nowhere(store, tmp_path, name):
    outside = tmp_path / "outside"
    (store / name).rename(outside)
    (store / name).symlink_to(outside)
    before = {file: file.read_bytes() for file in outside.rglob("*") if file.is_file()}
    _, verified, recorded, _ = use(store)
    assert isinstance(verified, DitscopeError) or not verified.ok
    with pytest.raises(DitscopeError, match="a link at"):
        record(store, SAMPLES)
    assert isinstance(recorded, DitscopeError)
    assert {file: file.read_bytes() for file in outside.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "device", "folder"])
def test_a_file_that_is_none(store, tmp_path, name, kind, monkeypatch):
    outside = tmp_path / "outside"
    (store / name).rename(outside)
    before = outside.read_bytes()
    if kind == "link":
        (store / name).symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(store / name)
    elif kind == "socket":
        monkeypatch.chdir((store / name).parent)  # the names of sockets must be short
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.path.basename(name))
        server.close()
    elif kind == "device":
        try:
            os.mknod(store / name, 0o20666, os.makedev(1, 5))  # /dev/zero
        except PermissionError:
            pytest.skip("not root")
    else:
        (store / name).mkdir()
    _, verified, _, read = use(
        store, [open_cache, verify, open_cache, first_sample] if kind == "folder" else None
    )
    assert isinstance(verified, DitscopeError) or not verified.ok
    assert isinstance(read, DitscopeError) or "hidden" not in name
    assert outside.read_bytes() == before


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**70), st.floats(), st.text(max_size=3),
    st.just([]), st.just({}), st.just([[1]]), st.just({"a": None}), st.just("../x"), st.just("/etc"),
)  # fmt: skip


def places(value, at=()):
    """Every place in JSON values."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def altered(value, data):
    at = data.draw(st.sampled_from([place for place in places(value) if place]))
    holder = value
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = data.draw(ODD)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_altered_manifests(complete_small, tmp_path_factory, data):
    store = copied(complete_small, tmp_path_factory)
    change_manifest(store, lambda manifest: altered(manifest, data))
    for result in use(store)[:2]:
        if not isinstance(result, DitscopeError) and hasattr(result, "specs"):
            assert result.committed == (0, 1, 2)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_altered_ledgers(complete_small, tmp_path_factory, data):
    store = copied(complete_small, tmp_path_factory)
    lines = (store / FILE).read_bytes().splitlines()
    number = data.draw(st.sampled_from(range(len(lines))))
    content = json.loads(lines[number].partition(b" ")[2])
    altered(content, data)
    lines[number] = line(content.pop("kind", "none"), content).rstrip() if isinstance(content, dict) else b"x"
    (store / FILE).write_bytes(b"\n".join(lines) + b"\n")
    use(store)


def copied(complete, factory):
    return Path(shutil.copytree(complete, factory.mktemp("altered") / "a.zarr"))


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 200_000,
        b'{"a": ' * 200_000,
        b'{"attributes": {"ditscope": Infinity}}',
        b'{"attributes": {"ditscope": {"format": 1e400}}}',
        b'{"attributes": {"ditscope": NaN}}',
        b'{"attributes": {"ditscope": {"format": "ditscope-cache", "version": 2}}}',
        b"[1, 2]",
        b"",
        b"\xff\xfe",
    ],
)
def test_metadata_that_is_none(store, text):
    (store / "zarr.json").write_bytes(text)
    assert all(isinstance(result, DitscopeError) for result in use(store))


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e400"])
def test_numbers_that_are_none(store, number):
    root = store / "zarr.json"
    change_manifest(store, lambda manifest: manifest["config"].update(scale=0.125))
    root.write_text(root.read_text().replace("0.125", number))
    assert all("not JSON" in str(result) for result in use(store))


@pytest.mark.parametrize("path", ["../x", "/etc/x", "image/../../x", "image//x", "a b", "done/ledger"])
def test_the_path_of_an_array_stays_inside(store, path):
    def change(manifest):
        manifest["arrays"][path] = manifest["arrays"].pop("images")

    change_manifest(store, change)
    before = sorted(os.listdir(store.parent))
    assert all(isinstance(result, DitscopeError) for result in use(store))
    assert sorted(os.listdir(store.parent)) == before


def test_a_newer_format_is_refused_by_name(store):
    change_manifest(store, lambda manifest: manifest.update(requires=["holograms"]))
    assert all("holograms" in str(result) for result in use(store))


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "samples", "first": 2**39, "samples": [{"prompt": "", "seed": 0}]},
        {"kind": "samples", "first": float("inf"), "samples": []},
        {"kind": "samples", "first": 0, "samples": [{"prompt": "other", "seed": 0}]},
        {"kind": "commit", "sample": 2**39},
        {"kind": "drop", "sample": {}},
        {"kind": "journal", "version": 1},
    ],
)
def test_lines_that_lie(store, content):
    kind = content.pop("kind")
    with open(store / FILE, "ab") as ledger:
        ledger.write(line(kind, content))
    cache, *_ = use(store)
    if not isinstance(cache, DitscopeError):
        assert cache.committed == (0, 1, 2)
        assert [spec.prompt for spec in cache.specs] == [spec.prompt for spec in SAMPLES[:3]]


def test_a_count_of_nonfinite_values_of_no_site(store):
    lines = (store / FILE).read_bytes().splitlines()
    content = json.loads(lines[2].partition(b" ")[2])
    content["nonfinite"] = {"image": 3}
    lines[2] = line(content.pop("kind"), content).rstrip()
    (store / FILE).write_bytes(b"\n".join(lines) + b"\n")
    with pytest.warns(UserWarning, match="no stream/site"):
        assert open_cache(store).nonfinite.empty


def test_a_prompt_with_a_lone_surrogate(tmp_path):
    odd = SampleSpec("a \ud800 cube", 0)
    path = record(tmp_path / "a.zarr", [odd])
    cache = open_cache(path)
    assert cache.specs == (odd,)
    assert verify(path).ok
    assert cache.hidden()["prompt"].values.tolist() == [odd.prompt]
    record(path, [odd])


LARGE = """
import os, re, resource, sys, warnings
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from ditscope.cache import open_cache
from ditscope.cache.verification import verify
from ditscope.errors import DitscopeError
warnings.simplefilter("ignore")

def read_so_far():
    if not os.path.exists("/proc/self/io"):
        return 0
    with open("/proc/self/io") as counts:
        return int(re.search("rchar: ([0-9]+)", counts.read())[1])

for store in sys.argv[1:]:
    before = read_so_far()
    for action in (open_cache, lambda path: repr(open_cache(path)), verify):
        try:
            action(store)
        except DitscopeError as error:
            print(str(error)[:200])
            break
    assert read_so_far() - before < 2**30, store
"""


def test_huge_files_are_not_read(complete_small, complete_compressed, tmp_path):
    stores = []
    for name in ("zarr.json", FILE, "prompt/c.0"):
        stores.append(shutil.copytree(complete_small, tmp_path / str(len(stores))))
        os.truncate(stores[-1] / name, 2**38)
    stores.append(shutil.copytree(complete_compressed, tmp_path / "index"))
    file = stores[-1] / "image/block_output/hidden/c.0.0.0.0.0.0"
    content = bytearray(file.read_bytes())
    entries = np.frombuffer(content, "<u8", 4, len(content) - 36).copy()
    entries[1] = 2**62
    content[-36:-4] = entries.tobytes()
    content[-4:] = int(google_crc32c.value(bytes(content[-36:-4]))).to_bytes(4, "little")
    file.write_bytes(content)
    script = tmp_path / "use.py"
    script.write_text(LARGE)
    ended = subprocess.run([sys.executable, script, *stores], capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_three_thousand_steps_and_blocks_open_at_once(store):
    def change(manifest):
        schema = manifest["schema"]
        schema["steps"] = [{"index": i, "sigma": 0.5, "timestep": 1.0} for i in range(3000)]
        schema["blocks"] = [{"index": i, "name": "b", "kind": "b"} for i in range(3000)]
        schema["sites"][0]["blocks"] = list(range(3000))
        schema["shard_bytes"] = 2**33
        for plan in manifest["arrays"].values():
            if "block" in plan["dims"]:
                for name in ("shape", "shard"):
                    plan[name][0], plan[name][2] = (3000, 3000) if name == "shape" else (30, 30)
                if "statistic" in plan["dims"]:
                    plan["chunk"][0], plan["chunk"][2] = 30, 30

    change_manifest(store, change)
    steps = itertools.count()  # of the work: time would be the machine's
    tracemalloc.start()
    sys.setprofile(lambda *_: next(steps))
    try:
        cache, *_ = use(store, [open_cache])
        assert isinstance(cache, DitscopeError) or cache.committed == ()
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        sys.setprofile(None)
        tracemalloc.stop()
    assert next(steps) < 10**6
