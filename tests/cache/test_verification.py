import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from store_recording import edit_json, files_below, make_schema, record

from ditscope.cache import StreamSpec, open_cache, verify
from ditscope.cache.store_opening import open_store
from ditscope.cache.verification import require_whole
from ditscope.errors import CacheError

HIDDEN = "image/block_output/hidden"


def test_an_intact_store_is_as_recorded(store):
    report = verify(store)
    assert report.ok
    assert report.samples == 2
    assert report.nbytes > open_cache(store).nbytes
    assert report.damaged_samples == ()
    assert "all as recorded" in str(report)


def _flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_damaged_chunk_is_named_by_its_labels(tmp_path, compression):
    store = record(tmp_path / "a.zarr", make_schema(compression=compression))
    path = store / HIDDEN / "c.1.0.0.0.0.0"
    # The index at the end says where chunk (step 1, branch 0, block 2, channel part 1) of the file is.
    index = np.frombuffer(path.read_bytes()[-4 - 12 * 3 * 16 : -4], "<u8").reshape(2, 2, 3, 3, 2)
    _flip(path, int(index[1, 0, 2, 1, 0]) + 5)
    report = verify(store)
    (damage,) = report.damaged
    assert damage.labels == {
        "array": HIDDEN,
        "stream": "image",
        "site": "block_output",
        "sample": 1,
        "step": 3,
        "branch": "cond",
        "block": 4,
        "channel": (27, 50),
    }
    assert damage.file == f"{HIDDEN}/c.1.0.0.0.0.0"
    assert report.damaged_samples == (1,)
    for part in ("sample 1", "step 3", "branch cond", "block 4"):
        assert part in str(damage)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_any_flipped_byte_of_any_file_is_found(tmp_path, compression):
    """Data, checksums, indices, metadata, labels, ``done`` and the journal."""
    streams = (StreamSpec("image", 12, 3, 4, random_tokens=5), StreamSpec("text", 5))
    schema = make_schema(("attn_gate", "block_output"), streams=streams, compression=compression)
    store = record(tmp_path / "a.zarr", schema, samples=[0])
    whole = files_below(store)
    apart = {"zarr.json", "done/ledger/journal.jsonl"}
    assert {Path(name).name for name in whole} >= {"zarr.json", "journal.jsonl", "c.0", "c.0.0.0.0.0"}
    rng = np.random.default_rng(0)
    for last in (False, True):
        for name, data in whole.items():
            if name not in apart:
                _flip(store / name, len(data) - 1 if last else int(rng.integers(len(data))))
        assert {damage.file for damage in verify(store).damaged} == set(whole) - apart
        for name, data in whole.items():
            (store / name).write_bytes(data)
    # In the root, the manifest's environment is information that nothing else repeats; in the ledger, a last line
    # without its end counts as never written.
    for name, position in (
        ("zarr.json", -1),
        *(("done/ledger/journal.jsonl", at) for at in range(5, 2000, 97)),
    ):
        if -1 <= position < len(whole[name]) - 1:
            _flip(store / name, position)
            assert any(name in found for found in damage_of(store)), (name, position)
            (store / name).write_bytes(whole[name])
    assert verify(store).ok


def damage_of(store):
    """Files that verification names, or its refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of lines of the ledger
        try:
            return [f"{damage.file} {damage}" for damage in verify(store).damaged]
        except CacheError as error:
            return [str(error)]


def test_swapped_files_are_found_though_every_chunk_fits_its_own_checksum(store):
    one, two = (store / HIDDEN / f"c.{i}.0.0.0.0.0" for i in (0, 1))
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    report = verify(store)
    assert report.damaged_samples == (0, 1)
    assert len(report.damaged) == 2 * 2 * 2 * 3 * 3
    assert all("checksum" in damage.reason for damage in report.damaged)


def test_missing_shortened_and_lengthened_files_are_found(store):
    (store / "images/c.0.0.0.0").unlink()
    path = store / "text/block_output/statistics/over_tokens/c.1.0.0.0.0.0"
    path.write_bytes(path.read_bytes()[:-1])
    longer = store / "trajectory/latents/c.0.0.0.0"
    longer.write_bytes(longer.read_bytes() + b"\0")
    report = verify(store)
    assert {(damage.labels["array"], damage.reason) for damage in report.damaged} == {
        ("images", "the file is missing"),
        (
            "text/block_output/statistics/over_tokens",
            f"{path.stat().st_size} bytes, not {path.stat().st_size + 1}",
        ),
        ("trajectory/latents", f"{longer.stat().st_size} bytes, not {longer.stat().st_size - 1}"),
    }
    assert "3 damages" in str(report)


@pytest.mark.parametrize(
    "name",
    [
        "prompt/c.0",
        "seed/zarr.json",
        "done/c.0",
        "image/zarr.json",
        "image/block_output/block/c.0",
        f"{HIDDEN}/zarr.json",
        "text/token/c.0",
    ],
)
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"another")])
def test_metadata_and_labels_are_what_manifest_and_ledger_say(store, name, change):
    values = open_cache(store).hidden().values
    change(store / name)
    (damage,) = verify(store).damaged
    assert (damage.file, damage.labels) == (name, {})
    assert "than manifest and ledger say" in str(damage)
    assert verify(store).damaged_samples == ()
    # ditscope reads none of it.
    np.testing.assert_array_equal(open_cache(store).hidden().values.view("u2"), values.view("u2"))


def test_a_damaged_line_of_the_ledger_is_named(store):
    path = store / "done/ledger/journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(at for at, line in enumerate(lines) if b'"commit"' in line)
    lines[number] = lines[number].replace(b"crc32c", b"crc32d", 1)
    path.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=r"ledger .* is damaged.*ds\.repair"):
        report = verify(store)
    assert not report.ok
    assert report.samples == 1
    assert any(f"{number + 1}" in str(damage) for damage in report.damaged)


def test_uncommitted_samples_are_not_read(tmp_path):
    store = record(tmp_path / "a.zarr", samples=[1])
    assert verify(store).samples == 1
    assert verify(store).ok


def test_what_is_not_a_cache_is_refused(tmp_path, store):
    with pytest.raises(CacheError, match="nothing at"):
        verify(tmp_path / "b.zarr")
    edit_json(
        store / "zarr.json", lambda content: content["attributes"]["ditscope"]["config"].update(model="x")
    )
    with pytest.raises(CacheError, match="hash"):
        verify(store)


def test_samples_are_required_to_be_whole_one_by_one(store):
    _flip(store / HIDDEN / "c.1.0.0.0.0.0", 5)
    opened = open_store(store)
    one, other = opened.ledger().entries.values()
    require_whole(opened, [one])
    require_whole(opened, [])
    with pytest.raises(
        CacheError, match=r"committed sample: .*sample 1, step 1, branch cond, block 0.*ds\.repair"
    ):
        require_whole(opened, [one, other])
    shutil.rmtree(store / "images")
    (store / "images").mkdir()
    with pytest.raises(CacheError, match="array images, sample 0.*the file is missing"):
        require_whole(opened, [one])
