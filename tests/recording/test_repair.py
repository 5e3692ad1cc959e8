"""Damaged samples are recorded anew and are, bit for bit, what they were; or nothing is dropped."""

from __future__ import annotations

import bisect
import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from pipeline_recording import GUIDED, PLAIN, PROMPTS, drop, record
from test_record import halved, pictures
from test_record_again import contents, data_files

import ditscope as ds
from ditscope.cache.preflight import check_memory
from ditscope.cache.sample_ledger import FILE
from ditscope.errors import CacheError, ConfigMismatchError, DitscopeError, InputError
from ditscope.recording import record_batch as recording

HIDDEN, STATISTICS = "image/block_output/hidden", "image/block_output/statistics/over_tokens"
ONE_STEP = {**PLAIN, "num_inference_steps": 1}
LITTLE = {"blocks": [0, -1], "channels": range(8)}
NEGATIVE = ["a blue star", "a red circle"]
CALL = {**GUIDED, "num_inference_steps": 1, "negative_prompt": NEGATIVE}
KEEP = {"streams": ("image", "text"), "batch_size": 2, **LITTLE}


@pytest.fixture(scope="module")
def whole(dit, folder) -> ds.Cache:
    """Two samples of one batch, guided, each with a negative prompt of its own."""
    return record(dit, folder / "repaired", PROMPTS, 3, CALL, **KEEP)


@pytest.fixture
def copied(tmp_path) -> Callable[[ds.Cache], Path]:
    return lambda cache: Path(shutil.copytree(cache.path, tmp_path / "copy"))


def files_of(path: Path, sample: int, array: str) -> list[Path]:
    return sorted((path / array).glob(f"c.{sample}.*"))


def flip(file: Path, at: int = 40) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def damage(path: Path, sample: int, array: str = HIDDEN) -> None:
    flip(files_of(path, sample, array)[0])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def lines(path: Path) -> list[dict[str, Any]]:
    """The journal, without checksums."""
    return [json.loads(line[9:]) for line in (path / FILE).read_bytes().splitlines()]


def assert_as_undisturbed(path: Path, cache: ds.Cache) -> None:
    repaired = ds.open_cache(path)
    assert repaired.committed == cache.committed
    for sample, entry in cache.ledger.items():
        now = repaired.ledger[sample].to_json()
        assert {**now, "committed": None} == {**entry.to_json(), "committed": None}
    expected, found = contents(cache.path), contents(path)
    assert {name for name in found if found[name] != expected.get(name)} <= {FILE}
    assert found.keys() == expected.keys()
    assert ds.verify(path).ok


@pytest.mark.parametrize(
    "harms",
    [
        {0: (HIDDEN, flip)},
        {1: ("trajectory/latents", flip)},
        {0: ("images", Path.unlink), 1: (STATISTICS, cut)},
    ],
)
def test_damaged_samples_are_what_they_were(dit, whole, copied, harms) -> None:
    path = copied(whole)
    for sample, (array, harm) in harms.items():
        harm(files_of(path, sample, array)[0])
    assert ds.verify(path).damaged_samples == tuple(harms)
    result = ds.repair(dit, path)
    assert (result.path, result.repaired, result.metadata) == (path, tuple(harms), ())
    assert result.ok
    assert str(result) == (
        f"{path}: samples recorded anew, bit for bit as before: {len(harms)}; "
        "metadata and ledger lines written anew: 0"
    )
    assert_as_undisturbed(path, whole)


def test_a_store_that_is_whole_is_left_as_it_is(dit, whole, copied) -> None:
    path = copied(whole)
    result = ds.repair(dit, path)
    assert str(result) == f"{path}: nothing was damaged"
    assert repr(result) == f"Repair(path={path!r}, repaired=(), metadata=(), unproven=())"
    assert result.ok
    assert contents(path) == contents(whole.path)


def test_metadata_and_labels_are_written_anew_without_a_run(dit, whole, copied, monkeypatch) -> None:
    path = copied(whole)
    (path / HIDDEN / "zarr.json").write_text("{}")
    (path / "prompt/c.0").unlink()
    flip(path / "done/c.0", 0)
    monkeypatch.setattr("ditscope.recording.repair.record_batch", None)
    result = ds.repair(dit, path)
    assert sorted(result.metadata) == ["done/c.0", f"{HIDDEN}/zarr.json", "prompt/c.0"]
    assert str(result).endswith("as before: 0; metadata and ledger lines written anew: 3")
    assert contents(path) == contents(whole.path)


def test_a_sample_is_repaired_in_its_batch_and_the_others_of_it_are_left_alone(dit, whole, copied) -> None:
    path = copied(whole)
    call = {**CALL, "negative_prompt": NEGATIVE[1:]}
    alone = record(dit, path.parent / "alone", PROMPTS[1], 3, call, **KEEP)
    assert alone.ledger[0].spec == whole.ledger[1].spec
    assert alone.ledger[0].files[HIDDEN] != whole.ledger[1].files[HIDDEN]  # its bits depend on the batch
    damage(path, 1)
    others = [path / name for name in data_files(path, [0])]
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in others]
    assert ds.repair(dit, path).repaired == (1,)
    assert [(file.stat().st_ino, file.stat().st_mtime_ns) for file in others] == before
    assert_as_undisturbed(path, whole)


def test_each_sample_is_repaired_in_the_batch_that_it_counts_for(dit, copied, tmp_path) -> None:
    """One that was generated twice, and kept of one batch: not of the other."""
    keep = {"batch_size": 2, **LITTLE}
    record(dit, tmp_path / "a", PROMPTS, 3, ONE_STEP, **keep)
    drop(tmp_path / "a", 1)
    cache = record(dit, tmp_path / "a", PROMPTS[1], [3, 8], ONE_STEP, **keep)
    assert [cache.ledger[sample].batch for sample in range(3)] == [(0, 1), (1, 2), (1, 2)]
    path = copied(cache)
    damage(path, 0)
    damage(path, 1)
    assert ds.repair(dit, path).repaired == (0, 1)
    assert_as_undisturbed(path, cache)


def test_a_sample_whose_commit_is_damaged_counts_as_not_recorded(dit, whole, copied) -> None:
    path = copied(whole)
    content = (path / FILE).read_bytes().splitlines(keepends=True)
    number = next(n for n, own in enumerate(lines(path)) if own["kind"] == "commit" and own["sample"] == 0)
    content[number] = content[number].replace(b"crc32c", b"crc32d", 1)
    (path / FILE).write_bytes(b"".join(content))
    with pytest.warns(UserWarning, match=rf"line {number + 1} .*ds\.repair\(model, path\) writes the ledger"):
        result = ds.repair(dit, path)
    assert result.repaired == ()
    assert f"line {number + 1} of {FILE}" in result.metadata
    assert result.unproven == (f"line {number + 1} of {FILE}",)
    assert not result.ok
    assert str(result).endswith("; ledger lines that could not be proven: 1")
    cache = ds.open_cache(path)  # warns of nothing
    assert cache.committed == (1,)
    assert cache.samples["prompt"].tolist() == PROMPTS
    assert [own["kind"] for own in lines(path)] == ["journal", "samples", "commit"]
    assert ds.verify(path).ok
    assert record(dit, path, PROMPTS, 3, CALL, **KEEP).complete
    assert_as_undisturbed(path, whole)


def test_a_batch_with_a_sample_that_nothing_names_is_refused(dit, whole, copied) -> None:
    path = copied(whole)
    own = lines(path)
    content = (path / FILE).read_bytes().splitlines(keepends=True)
    kept = [
        line
        for line, one in zip(content, own, strict=True)
        if one["kind"] == "journal" or (one["kind"] == "commit" and one["sample"] == 1)
    ]
    (path / FILE).write_bytes(b"".join([kept[0], b"0" + content[1], *kept[1:]]))
    damage(path, 1)
    before = contents(path)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(CacheError, match="sample 0, whose name in the ledger is damaged"),
    ):
        ds.repair(dit, path)
    assert contents(path) == before


def test_values_that_come_out_otherwise_do_not_count(dit, whole, copied) -> None:
    """Here the ledger was told other checksums, in a line that is whole."""
    path = copied(whole)
    changed = []
    for own in lines(path):
        if own.get("sample") == 0:
            text = own["files"][HIDDEN]["crc32c"]
            own["files"][HIDDEN]["crc32c"] = ("B" if text[0] == "A" else "A") + text[1:]
        text = json.dumps(own, separators=(",", ":")).encode()
        changed.append(b"%08x %b\n" % (google_crc32c.value(text), text))
    (path / FILE).write_bytes(b"".join(changed))
    with pytest.raises(CacheError, match=r"other values of sample 0 than were recorded on 20\d\d-"):
        ds.repair(dit, path)
    cache = ds.open_cache(path)
    assert cache.committed == (1,)
    assert cache.samples["done"].tolist() == [False, True]
    assert ds.verify(path).ok
    assert cache.hidden().sel(sample=1).values.tobytes() == whole.hidden().sel(sample=1).values.tobytes()


def embedded(dit, label: str = "half way", seed: int = 0) -> ds.PromptEmbeds:
    made, config = torch.Generator().manual_seed(seed), dit.diffusers_pipeline.transformer.config
    return ds.PromptEmbeds(
        label,
        prompt_embeds=torch.randn(1, 24, config.joint_attention_dim, generator=made),
        pooled_prompt_embeds=torch.randn(1, config.pooled_projection_dim, generator=made),
    )


def test_embeddings_that_are_small_are_in_the_store(dit, copied, tmp_path) -> None:
    prompts = [embedded(dit), embedded(dit, "x", 1)]
    cache = record(dit, tmp_path / "a", prompts, 3, ONE_STEP, batch_size=2, **LITTLE)
    assert len(cache.call_tensors) == 4
    path = copied(cache)
    damage(path, 0)
    ds.repair(dit, path)
    assert_as_undisturbed(path, cache)

    # A line that is damaged is written anew from what is passed in its place.
    content = (path / FILE).read_bytes()
    (path / FILE).write_bytes(content.replace(b'"kind":"tensor"', b'"kind":"tensos"', 1))
    damage(path, 0)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(CacheError, match="Pass prompts="):
        ds.repair(dit, path)
    with pytest.warns(UserWarning, match="damaged"):
        ds.repair(dit, path, prompts)
    assert_as_undisturbed(path, cache)
    found = ds.open_cache(path).call_tensors
    assert found.keys() == cache.call_tensors.keys()
    assert all(np.array_equal(found[digest], values) for digest, values in cache.call_tensors.items())


def test_embeddings_that_are_large_are_passed(dit, copied, tmp_path, monkeypatch) -> None:
    prompt, other = embedded(dit), embedded(dit, seed=1)
    monkeypatch.setattr(recording, "MOST_TENSOR_BYTES", prompt.tensors["prompt_embeds"].nbytes - 1)
    cache = record(dit, tmp_path / "a", prompt, 3, ONE_STEP, **LITTLE)
    assert len(cache.call_tensors) == 1
    path = copied(cache)
    damage(path, 0)
    before = contents(path)
    for given in ((), other, [embedded(dit, "another name")]):
        with pytest.raises(
            CacheError, match="a digest of the embeddings of 'half way' of sample 0 .*prompts="
        ):
            ds.repair(dit, path, given)
    assert contents(path) == before
    ds.repair(dit, path, [other, prompt])  # of one label: known by their digests
    assert_as_undisturbed(path, cache)


def test_latents_and_generators_are_passed_again(dit, copied, tmp_path) -> None:
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    latents = torch.randn(2, 32, 16)
    keep = {"batch_size": 2, **LITTLE}
    record(dit, tmp_path / "a", PROMPTS, 3, {**ONE_STEP, "latents": latents}, **keep)
    cache = record(dit, tmp_path / "a", PROMPTS[0], generator, ONE_STEP, **keep)
    path = copied(cache)
    state = generator.get_state()

    damage(path, 1)
    before = contents(path)
    for given in ({}, {"latents": latents[:1]}, {"latents": "none"}):
        with pytest.raises(CacheError, match=r"a digest of latents of sample [01] .*Pass latents="):
            ds.repair(dit, path, **given)
    assert contents(path) == before
    ds.repair(dit, path, latents=latents.flip(0))  # rows are known by their digests
    assert_as_undisturbed(path, cache)

    damage(path, 2)
    before = contents(path)
    for seeds in ((), [torch.Generator().manual_seed(5), 6]):
        with pytest.raises(CacheError, match=r"a digest of the generator's state of sample 2 .*Pass seeds="):
            ds.repair(dit, path, seeds=seeds)
    assert contents(path) == before
    ds.repair(dit, path, seeds=[torch.Generator().manual_seed(5), generator])
    assert_as_undisturbed(path, cache)
    assert torch.equal(generator.get_state(), state)


def test_images_are_passed_again(copied, tmp_path) -> None:
    import tiny

    dit = ds.load(str(tiny.save("flux2-klein-base", tmp_path / "flux2")))
    images = pictures((64, 80), (80, 64))
    call = {"num_inference_steps": 1, "height": 16, "width": 24, "image": images}
    cache = record(dit, tmp_path / "a", "a red circle", 0, call, blocks=[0])
    path = copied(cache)
    damage(path, 0)
    before = contents(path)
    with pytest.raises(CacheError, match="found digests of image in the store.*Pass image= as"):
        ds.repair(dit, path)
    with pytest.raises(ConfigMismatchError, match=r"config.call.image\[0\].image"):
        ds.repair(dit, path, image=images[::-1])
    assert contents(path) == before
    ds.repair(dit, path, image=images)
    assert_as_undisturbed(path, cache)


def test_callbacks_and_large_tensors_of_all_samples_are_passed_again(
    dit, copied, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(recording, "MOST_TENSOR_BYTES", 16)
    masks = {"joint_attention_kwargs": {"a": torch.ones(1, 8)}}
    given = {"callback_on_step_end": halved, **masks}
    cache = record(dit, tmp_path / "a", PROMPTS[0], 3, {**ONE_STEP, **given}, **LITTLE)
    path = copied(cache)
    (path / "prompt/c.0").unlink()
    ds.repair(dit, path)  # no sample is generated
    damage(path, 0)
    before = contents(path)
    with pytest.raises(CacheError, match=r"Pass callback_on_step_end=, joint_attention_kwargs= as"):
        ds.repair(dit, path)
    with pytest.raises(CacheError, match=r"Pass callback_on_step_end= as"):
        ds.repair(dit, path, **masks)
    assert contents(path) == before
    ds.repair(dit, path, **given)
    assert_as_undisturbed(path, cache)


class Gained(FluxAttnProcessor):
    """Attention times a number that comes in a tensor of one axis."""

    def __call__(self, attn, hidden_states, *streams, gain, **more):
        return super().__call__(attn, hidden_states * gain.item(), *streams, **more)


def test_a_call_that_the_pipeline_cannot_run_drops_nothing(untrained_folder, copied, tmp_path) -> None:
    """The store has a list in place of a tensor of one axis: found by a probe."""
    dit = ds.load(str(untrained_folder))
    dit.diffusers_pipeline.transformer.set_attn_processor(Gained())
    given = {"joint_attention_kwargs": {"gain": torch.tensor([0.5])}}
    cache = record(dit, tmp_path / "a", PROMPTS[0], 3, {**ONE_STEP, **given}, **LITTLE)
    path = copied(cache)
    damage(path, 0)
    before = contents(path)
    with pytest.raises(AttributeError, match="'list' object has no attribute 'item'"):
        ds.repair(dit, path)
    assert contents(path) == before
    ds.repair(dit, path, **given)
    assert_as_undisturbed(path, cache)


def change_weights(dit) -> None:
    with torch.no_grad():
        dit.diffusers_pipeline.text_encoder_2.shared.weight[0, 0] += 1


def change_layer(dit) -> None:
    dit.diffusers_pipeline.transformer.norm_out.norm.eps = 0.1


def test_another_model_drops_nothing(untrained_folder, whole, copied) -> None:
    path, other = copied(whole), ds.load(str(untrained_folder))
    damage(path, 0)
    before = contents(path)
    other.close()
    with pytest.raises(DitscopeError, match="closed"):
        ds.repair(other, path)
    other = ds.load(str(untrained_folder))
    for change, field in ((change_layer, r"live\.transformer"), (change_weights, "weights_fingerprint")):
        change(other)
        with pytest.raises(ConfigMismatchError, match=field):
            ds.repair(other, path)
    assert contents(path) == before


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"height": 64}, ConfigMismatchError, r"call\.height: found 16, expected 64"),
        ({"heights": 64}, InputError, "pipeline argument heights"),
        ({"negative_prompt": NEGATIVE}, InputError, "found negative_prompt, which the store has in words"),
        ({"sigmas": [1.0]}, InputError, "found sigmas, which .* or was not passed"),
        ({"prompt": PROMPTS}, InputError, "pipeline argument prompt"),
        ({"prompts": PROMPTS}, InputError, "prompts of type str; expected the PromptEmbeds"),
        ({"prompts": [3]}, InputError, "prompts of type int"),
        ({"seeds": "three"}, InputError, "seed"),
    ],
)
def test_wrong_arguments_drop_nothing(dit, whole, copied, given, error, words) -> None:
    path = copied(whole)
    damage(path, 0)
    before = contents(path)
    with pytest.raises(error, match=words):
        ds.repair(dit, path, **given)
    assert contents(path) == before


def test_memory_for_the_whole_batch_is_asked_for_before_a_sample_is_dropped(dit, whole, copied) -> None:
    def fits(budget: int) -> bool:
        with contextlib.suppress(InputError):
            check_memory(whole.schema, whole.plans, 1, budget)
            return True
        return False

    path, enough_for_one = copied(whole), bisect.bisect_left(range(2**20), True, key=fits)
    damage(path, 0)
    damage(path, 1)
    before = contents(path)
    with pytest.raises(InputError, match="memory_budget of"):
        ds.repair(dit, path, memory_budget=enough_for_one)
    assert contents(path) == before


def test_a_path_without_a_store(dit, tmp_path) -> None:
    with pytest.raises(CacheError, match="nothing at"):
        ds.repair(dit, tmp_path / "none")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(CacheError, match="a file at"):
        ds.repair(dit, tmp_path / "file")
