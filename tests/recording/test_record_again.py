"""Recording to a path that holds something already: resumed if it is the same, and else left alone."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from pipeline_recording import BOTH, GUIDED, PROMPTS, SAMPLES, SEEDS, record

import ditscope as ds
from ditscope.cache.writer import CacheWriter
from ditscope.errors import CacheError, ConfigMismatchError
from ditscope.tracing.run import run_traced


def contents(path: Path) -> dict[str, str]:
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def data_files(path: Path) -> dict[str, str]:
    """Everything except what tells the time: the ledger and the manifest."""
    return {name: digest for name, digest in contents(path).items() if "/c/" in name}


class StoppedError(Exception):
    """Raised by a test in the middle of a recording."""


def stop_commit_of(sample: int, monkeypatch) -> None:
    honest = CacheWriter.commit

    def commit(self, number, *texts, **more):
        if number == sample:
            raise StoppedError
        honest(self, number, *texts, **more)

    monkeypatch.setattr(CacheWriter, "commit", commit)


def stop_put_of(sample: int, monkeypatch) -> None:
    honest = CacheWriter.put

    def put(self, reading):
        address = reading.address
        if sample in reading.samples and (address.step, address.branch, address.block) == (1, "cond", 4):
            raise StoppedError
        honest(self, reading)

    monkeypatch.setattr(CacheWriter, "put", put)


@pytest.mark.parametrize("stop", [stop_commit_of, stop_put_of])
@pytest.mark.parametrize(("batch_size", "sample", "kept"), [(1, 2, [0, 1]), (3, 1, [0]), (3, 3, [0, 1, 2])])
def test_a_recording_that_was_interrupted_goes_on_as_if_it_had_not_been(
    dit, guided, tmp_path, stop, batch_size, sample, kept
) -> None:
    path = tmp_path / "store"
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop(sample, monkeypatch)
        with pytest.raises(StoppedError):
            record(dit, path, batch_size=batch_size, **BOTH)
    if stop is stop_put_of:  # the whole batch was under way
        kept = [number for number in kept if number // batch_size < sample // batch_size]
    partial = ds.open_cache(path)
    assert np.flatnonzero(partial.samples["done"]).tolist() == kept
    before = data_files(path) if kept else {}

    whole = record(dit, path, batch_size=batch_size, **BOTH)
    assert whole.complete
    after = data_files(path)
    committed = {name: after[name] for name in before if name.split("/c/")[1].split("/")[0] in map(str, kept)}
    assert committed.items() <= before.items()
    unbroken = guided.path if batch_size == 3 else record(dit, tmp_path / "unbroken", **BOTH).path
    assert after == data_files(unbroken)
    assert ds.verify(path).ok


def test_committed_samples_are_not_generated_again(dit, tmp_path, monkeypatch) -> None:
    path = tmp_path / "store"
    record(dit, path)
    before = contents(path)

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("a committed sample was generated again")

    monkeypatch.setattr("ditscope.recording.record.run_traced", unexpected)
    assert record(dit, path).complete
    assert contents(path) == before


def test_a_batch_that_was_cut_is_generated_again_as_the_same_batch(dit, tmp_path, monkeypatch) -> None:
    """Numbers depend on the batch in their last bits, so what is missing is not batched anew."""
    path, honest, batches = tmp_path / "store", run_traced, []
    with pytest.MonkeyPatch.context() as stopping:
        stop_commit_of(1, stopping)
        with pytest.raises(StoppedError):
            record(dit, path, batch_size=3)

    def watched(dit, samples, *arguments, **more):
        batches.append(list(samples))
        return honest(dit, samples, *arguments, **more)

    monkeypatch.setattr("ditscope.recording.record.run_traced", watched)
    assert record(dit, path, batch_size=3).complete
    assert batches == [SAMPLES[:3], SAMPLES[3:]]


@pytest.fixture
def older(tmp_path) -> tuple[Path, dict]:
    """A store of version 1 that an earlier release recorded, and what is in it."""
    folder = Path(__file__).parents[1] / "data"
    with zipfile.ZipFile(folder / "version_1.zip") as file:
        file.extractall(tmp_path)
    return tmp_path / "version_1.zarr", json.loads((folder / "version_1.json").read_text())


def test_a_store_of_an_earlier_release_opens_with_equal_values(older) -> None:
    path, expected = older
    cache = ds.open_cache(path)
    assert cache.complete
    assert cache.nbytes == expected["nbytes"]
    arrays = {"images": cache.images}
    arrays |= {f"trajectory/{name}": array for name, array in cache.trajectory.items()}
    for stream in cache.schema.stream_names:
        for site in cache.schema.sites:
            arrays[f"{stream}/{site}"] = cache.hidden(stream, site)
            for name, array in cache.stats(stream, site).items():
                arrays[f"{stream}/stats/{site}/{name}"] = array
    assert arrays.keys() == expected["arrays"].keys()
    for name, array in arrays.items():
        values, known = np.ascontiguousarray(array.values), expected["arrays"][name]
        assert (str(values.dtype), list(values.shape)) == (known["dtype"], known["shape"]), name
        assert values.astype(np.float64).sum() == pytest.approx(known["sum"]), name
        assert hashlib.sha256(values.tobytes()).hexdigest() == known["sha256"], name
    known = dict(expected["value"])
    value = known.pop("value")
    assert cache.hidden().sel(known).values.tolist() == [value]
    report = ds.verify(path)
    assert report.ok, report


def test_a_store_of_an_earlier_release_is_not_gone_on_with(older, tmp_path) -> None:
    """In which live state its model was is not known; what is recorded anew makes the same files as then."""
    path, expected = older
    arguments = dict(expected["call"])
    prompt, seed = arguments.pop("prompt"), arguments.pop("seed")
    keep = {
        "streams": ["image", "text"],
        "sites": ["attn_gate", "block_output"],
        "blocks": ["double.3", "single.1"],
        "channels": [0, 5, 64, 127],
    }
    dit = ds.load("shapes")
    before = ds.open_cache(path)
    hidden = before.hidden().values
    (path / "done" / "ledger" / "000000.json").unlink()
    assert not ds.open_cache(path).complete
    left = contents(path)
    with pytest.raises(ConfigMismatchError, match=r"config\.live: found <absent>, expected {'versions'"):
        record(dit, path, prompt, seed, arguments, **keep)
    assert contents(path) == left
    cache = record(dit, tmp_path / "anew.zarr", prompt, seed, arguments, **keep)
    assert cache.ledger[0].files.keys() == before.ledger[0].files.keys()
    np.testing.assert_allclose(cache.hidden().values, hidden, rtol=1e-3, atol=1e-3)  # on another machine
    assert ds.verify(path).ok


@pytest.fixture(scope="module")
def small_store(dit, folder) -> Path:
    return record(dit, folder / "small", PROMPTS[:1], SEEDS[0], blocks=[0]).path


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"blocks": [0, 1]}, "blocks"),
        ({"channels": range(64)}, "channels"),
        ({"steps": [0]}, "steps"),
        ({"stats": False}, "stats"),
        ({"batch_size": 2}, "batch_size"),
        ({"prompts": PROMPTS[1:]}, "samples"),
        ({"seeds": [4]}, "samples"),
        ({"call": {**GUIDED, "true_cfg_scale": 3.0}}, "true_cfg_scale"),
        ({"call": {**GUIDED, "guidance_scale": 7.0}}, "guidance_scale"),
    ],
)
def test_another_configuration_is_refused_by_field_and_leaves_the_store_alone(
    dit, small_store, changes, field
) -> None:
    before = contents(small_store)
    arguments = {"prompts": PROMPTS[:1], "seeds": SEEDS[:1], "blocks": [0], **changes}
    with pytest.raises(ConfigMismatchError) as error:
        record(dit, small_store, **arguments)
    assert field in str(error.value)
    assert "choose another path" in str(error.value)
    assert contents(small_store) == before


def test_other_weights_are_another_configuration(untrained_folder, small_store) -> None:
    other = ds.load(str(untrained_folder))
    with torch.no_grad():
        other.diffusers_pipeline.text_encoder_2.shared.weight[0, 0] += 1
    before = contents(small_store)
    with pytest.raises(ConfigMismatchError, match="weights_fingerprint"):
        record(other, small_store, PROMPTS[:1], SEEDS[0], blocks=[0])
    assert contents(small_store) == before


def make_file(path: Path) -> None:
    path.write_text("hello")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("hello")


def make_zarr(path: Path) -> None:
    zarr.create_group(path, attributes={"mine": True}).create_array("data", shape=3, dtype="f4")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (make_file, "a file at"),
        (make_folder, "a folder without zarr.json"),
        (make_zarr, "without a ditscope manifest"),
    ],
)
def test_a_path_that_holds_something_else_is_refused_and_left_alone(dit, tmp_path, make, named) -> None:
    path = tmp_path / "taken"
    make(path)
    before = path.read_bytes() if path.is_file() else contents(path)
    with pytest.raises(CacheError, match=named):
        record(dit, path)
    assert (path.read_bytes() if path.is_file() else contents(path)) == before


def test_an_empty_folder_is_filled(dit, tmp_path) -> None:
    assert record(dit, tmp_path, PROMPTS[0], 0, blocks=[0]).complete
