"""Recording to a path that holds something already: resumed if it is the same, and else left alone."""

from __future__ import annotations

import hashlib
import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from pipeline_recording import BOTH, GUIDED, PLAIN, PROMPTS, SAMPLES, SEEDS, record

import ditscope as ds
from ditscope.cache.writer import CacheWriter
from ditscope.errors import CacheError, ConfigMismatchError, InputError
from ditscope.tracing.run import run_traced

ONE_STEP = {**PLAIN, "num_inference_steps": 1}


def contents(path: Path) -> dict[str, str]:
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def data_files(path: Path, samples: list[int] | None = None) -> dict[str, str]:
    """All values of all samples, or of some."""
    found = {name: re.search(r"/c\.(\d+)\.", name) for name in contents(path)}
    chosen = {name for name, own in found.items() if own and (samples is None or int(own[1]) in samples)}
    return {name: digest for name, digest in contents(path).items() if name in chosen}


class StoppedError(Exception):
    """Raised by a test in the middle of a recording."""


def stop_commit_of(sample: int, monkeypatch) -> None:
    """Those before it in its batch are committed, as where the append was cut off."""
    honest = CacheWriter.commit_together

    def commit_together(self, texts, **more):
        before = dict(takewhile(lambda each: each[0] != sample, texts.items()))
        if before:
            honest(self, before, **more)
        if sample in texts:
            raise StoppedError

    monkeypatch.setattr(CacheWriter, "commit_together", commit_together)


def stop_put_of(sample: int, monkeypatch) -> None:
    honest = CacheWriter.put

    def put(self, reading):
        address = reading.address
        here = (address.step, address.branch) == (1, "cond") and 4 in address.blocks
        if sample in reading.samples and here:
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
    before = data_files(path, kept)

    whole = record(dit, path, batch_size=batch_size, **BOTH)
    assert whole.complete
    after = data_files(path)
    assert before.items() <= after.items()
    unbroken = guided.path if batch_size == 3 else record(dit, tmp_path / "unbroken", **BOTH).path
    assert after == data_files(unbroken)
    assert ds.verify(path).ok


def test_committed_samples_are_not_generated_again(dit, tmp_path, monkeypatch) -> None:
    path = tmp_path / "store"
    record(dit, path)
    before = contents(path)

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("a committed sample was generated again")

    monkeypatch.setattr("ditscope.recording.record_batch.run_traced", unexpected)
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

    monkeypatch.setattr("ditscope.recording.record_batch.run_traced", watched)
    assert record(dit, path, batch_size=3).complete
    assert batches == [SAMPLES[:3], SAMPLES[3:]]


LITTLE = {"blocks": [0, 5], "streams": ("image", "text")}


@pytest.fixture
def fresh(dit, folder):
    """Prompts, seeds, what else -> a store of these alone, made once."""

    def make(prompts, seeds, call=ONE_STEP, **keep):
        name = hashlib.sha256(repr((prompts, seeds, call, keep)).encode()).hexdigest()
        if not (folder / name).exists():
            record(dit, folder / name, prompts, seeds, call, **{**LITTLE, **keep})
        return ds.open_cache(folder / name)

    return make


def assert_same_samples(one: ds.Cache, positions: list[int], other: ds.Cache) -> None:
    """Samples of a store are, bit for bit, all samples of another."""
    for stream in LITTLE["streams"]:
        for left, right in (
            (one.hidden(stream), other.hidden(stream)),
            (one.stats(stream)["std"], other.stats(stream)["std"]),
            (one.images, other.images),
            (one.trajectory["latents"], other.trajectory["latents"]),
            (one.trajectory["transformer_output"], other.trajectory["transformer_output"]),
        ):
            assert left.isel(sample=positions).values.tobytes() == right.values.tobytes()


def test_a_second_generate_adds_the_samples_that_are_new(dit, fresh, tmp_path) -> None:
    """In one recording or in another, overlapping or not: positions stay, and every value is as in a fresh store."""
    path = tmp_path / "a.zarr"
    with ds.record(dit, path, **LITTLE) as rec:
        first = rec.generate(PROMPTS[0], [3, 8], **ONE_STEP)
        before = data_files(path)
        second = rec.generate(PROMPTS[::-1], [8, 1], **ONE_STEP)
    assert len(first.specs) == 2
    named = [*((PROMPTS[0], seed) for seed in (3, 8)), (PROMPTS[1], 8), (PROMPTS[1], 1), (PROMPTS[0], 1)]
    assert list(zip(second.samples["prompt"], second.samples["seed"], strict=True)) == named
    assert second.complete
    assert before.items() <= data_files(path).items()
    third = record(dit, path, PROMPTS[1], 3, ONE_STEP, **LITTLE)
    assert third.hidden()["sample"].values.tolist() == list(range(6))
    for positions, prompts, seeds in (
        ([0, 1], PROMPTS[0], [3, 8]),
        ([2, 3, 1, 4], PROMPTS[::-1], [8, 1]),
        ([5], PROMPTS[1], [3]),
    ):
        assert_same_samples(third, positions, fresh(prompts, seeds))
    assert ds.verify(path).ok


def test_added_samples_that_were_interrupted_are_gone_on_with(dit, fresh, tmp_path) -> None:
    path = tmp_path / "a.zarr"
    record(dit, path, PROMPTS[0], 3, ONE_STEP, **LITTLE)
    with pytest.MonkeyPatch.context() as stopping:
        stop_commit_of(2, stopping)
        with pytest.raises(StoppedError):
            record(dit, path, PROMPTS, [8, 1], ONE_STEP, **LITTLE)
    assert ds.open_cache(path).samples["done"].tolist() == [True, True, False, False, False]
    # What was asked for remains named, though only a part of it is asked for again.
    part = record(dit, path, PROMPTS[0], [1], ONE_STEP, **LITTLE)
    assert part.samples["done"].tolist() == [True, True, True, False, False]
    assert not part.complete
    whole = record(dit, path, PROMPTS, [8, 1], ONE_STEP, **LITTLE)
    assert whole.complete
    assert_same_samples(whole, [1, 2, 3, 4], fresh(PROMPTS, [8, 1]))


def test_negative_prompts_that_differ_make_different_samples(dit, fresh, tmp_path) -> None:
    call = {**GUIDED, "num_inference_steps": 1}
    path = tmp_path / "a.zarr"
    record(dit, path, PROMPTS[0], 3, {**call, "negative_prompt": ["a red circle"]}, **LITTLE)
    grown = record(
        dit, path, PROMPTS, 3, {**call, "negative_prompt": ["a blue star", "a red circle"]}, **LITTLE
    )
    assert [own["negative_prompt"] for own in grown.samples["call"]] == [
        "a red circle",
        "a blue star",
        "a red circle",
    ]
    assert not np.array_equal(grown.images[0], grown.images[1])
    for at, prompt, negative in ((1, 0, "a blue star"), (2, 1, "a red circle")):
        alone = fresh(PROMPTS[prompt], [3], {**call, "negative_prompt": negative})
        assert_same_samples(grown, [at], alone)
    again = record(dit, path, PROMPTS[0], 3, {**call, "negative_prompt": ["a blue star"]}, **LITTLE)
    assert len(again.specs) == 3
    # One text for all is the configuration's.
    with pytest.raises(ConfigMismatchError, match="negative_prompt"):
        record(dit, path, PROMPTS[0], 3, {**call, "negative_prompt": "a blue star"}, **LITTLE)


def test_columns_are_kept_beside_the_samples(dit, tmp_path) -> None:
    path = tmp_path / "a.zarr"
    keep = {"blocks": [0], "tensors": False}
    with ds.record(dit, path, **keep) as rec:
        rec.generate(PROMPTS, [3, 8], columns={"kind": ["a", "b"], "rank": [1, 2, 3, None]}, **ONE_STEP)
        # They take no part in which sample it is, and stay as they were.
        cache = rec.generate([*PROMPTS, "a circle"], 3, columns={"kind": [7, 7, {"c": [1]}]}, **ONE_STEP)
        for columns, named in (
            ({"seed": [1, 2]}, "a column 'seed'"),
            ({"kind": [1, 2, 3]}, "column 'kind' with 3 values for 4 samples"),
            ({"kind": "ab"}, "column 'kind' with 2 values"),
            ({"kind": [{1}, 2]}, "column"),
        ):
            before = contents(path)
            with pytest.raises(InputError, match=named):
                rec.generate(PROMPTS, [3, 9], columns=columns, **ONE_STEP)
            assert contents(path) == before
    assert cache.samples["kind"].tolist() == ["a", "a", "b", "b", {"c": [1]}]
    assert cache.samples["rank"].tolist()[:3] == [1, 2, 3]


def test_what_is_there_is_read_before_it_is_skipped_unless_told_not_to(dit, tmp_path) -> None:
    path, keep = tmp_path / "a.zarr", {"blocks": [0]}
    record(dit, path, PROMPTS[0], [3, 8], ONE_STEP, **keep)
    (damaged,) = (path / "image/block_output/hidden").glob("c.1.*")
    damaged.write_bytes(b"\x01" + damaged.read_bytes()[1:])
    with pytest.raises(CacheError, match=r"damage in a committed sample: .*sample 1, step 0.*ds\.repair"):
        record(dit, path, PROMPTS[0], [3, 8], ONE_STEP, **keep)
    assert record(dit, path, PROMPTS[0], 3, ONE_STEP, **keep).complete  # which is whole
    cache = record(dit, path, PROMPTS[0], [8, 1], ONE_STEP, check_committed=False, **keep)
    assert cache.committed == (0, 1, 2)
    damaged.unlink()  # seen by its size alone
    with pytest.raises(CacheError, match="no file .* of committed sample 1"):
        record(dit, path, PROMPTS[0], 8, ONE_STEP, check_committed=False, **keep)


def test_the_text_stream_has_room_for_prompts_that_come_later(tmp_path) -> None:
    """Of a family whose text is as long as its prompt."""
    import tiny

    dit = ds.load(str(tiny.save("qwen-image", tmp_path / "qwen")))
    call = {"num_inference_steps": 1, "height": 16, "width": 16, "true_cfg_scale": 1.0}
    short, long = "a red circle", "a large white star at the left on a plain red circle"
    keep = {"streams": "text", "blocks": [0], "stats": False}
    path = tmp_path / "a.zarr"
    first = record(dit, path, short, 0, call, **keep)
    n_short = first.hidden("text").sizes["token"]
    before = contents(path)
    with pytest.raises(
        InputError, match=rf"of \d+ text tokens, .*; expected at most {n_short},.*text_tokens="
    ):
        record(dit, path, long, 0, call, **keep)
    assert contents(path) == before

    roomy = tmp_path / "b.zarr"
    record(dit, roomy, short, 0, call, text_tokens=80, **keep)
    cache = record(dit, roomy, long, 0, call, **keep)
    text = cache.hidden("text")
    assert text.sizes["token"] == 80
    alone = record(dit, tmp_path / "c.zarr", long, 0, call, **keep).hidden("text")
    for sample, other in ((0, first.hidden("text")), (1, alone)):
        n_real = int(text["token_mask"].isel(sample=sample, branch=0).sum())
        assert n_real == other.sizes["token"]
        kept = text.isel(sample=sample, token=slice(0, n_real)).values
        assert kept.tobytes() == other.isel(sample=0).values.tobytes()
    with pytest.raises(InputError, match="expected at most 3,"):
        record(dit, tmp_path / "d.zarr", short, 0, call, text_tokens=3, **keep)
    assert not (tmp_path / "d.zarr").exists()


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
        ({"streams": ["image", "text"]}, "streams"),
        ({"tokens": 3}, "random_tokens"),
        ({"shard_bytes": 10_000}, "shard_bytes"),
        ({"compression": "zstd"}, "compression"),
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


def test_a_forecast_counts_what_is_left(dit, tmp_path) -> None:
    path = tmp_path / "store"
    record(dit, path, PROMPTS[0], SEEDS, ONE_STEP)
    before = contents(path)
    with ds.record(dit, path, batch_size=2) as rec:
        whole, left = (rec.forecast(PROMPTS, seeds, **ONE_STEP) for seeds in ([31, 32], SEEDS))
        nothing = rec.forecast(PROMPTS[0], SEEDS, **ONE_STEP)
    assert (whole.samples, whole.committed) == (4, 0)
    assert (left.samples, left.committed, left.total) == (2, 2, whole.total // 2)
    assert "for 2 samples left of 4" in str(left)
    assert (nothing.samples, nothing.total, nothing.seconds) == (0, 0, 0)
    assert contents(path) == before


def test_a_recording_that_is_stopped_by_hand_keeps_what_it_has_and_says_so(
    dit, tmp_path, monkeypatch
) -> None:
    """In the middle of the second image, as Ctrl-C does it."""
    honest = CacheWriter.put

    def put(self, reading):
        if 1 in reading.samples:
            raise KeyboardInterrupt
        honest(self, reading)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt) as stopped:
        patched.setattr(CacheWriter, "put", put)
        record(dit, tmp_path / "store", PROMPTS[0], SEEDS, ONE_STEP)
    assert "while generating sample 1: committed samples are safe" in stopped.value.__notes__[0]
    assert ds.open_cache(tmp_path / "store").committed == (0,)
    assert record(dit, tmp_path / "store", PROMPTS[0], SEEDS, ONE_STEP).complete
