"""Which sample, step and place of a cache or a capture a patch takes, and what it refuses."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import torch
from edited_samples import CALL, PROMPTS

import ditscope as ds
from ditscope.cache import files
from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import from_json
from ditscope.edits.recorded_source import RecordedSource
from ditscope.errors import InputError
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

SAMPLES = [(PROMPTS[0], 5), (PROMPTS[1], 6)]
PLAIN = {**CALL, "true_cfg_scale": 1.0}


@pytest.fixture(scope="module")
def source(dit):
    """Two prompts x two seeds, without guidance."""
    return ds.capture(dit, PROMPTS, [5, 6], blocks=[2, "single"], channels=range(100), batch_size=4, **PLAIN)


@pytest.fixture(scope="module")
def recorded(dit, tmp_path_factory):
    with ds.record(dit, tmp_path_factory.mktemp("source") / "a.zarr", blocks=[2], batch_size=4) as rec:
        return rec.generate(PROMPTS, [5, 6], **PLAIN)


@pytest.fixture(scope="module")
def look(dit):
    return probe(dit, SAMPLES, **PLAIN)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (3, [3, 3]),
        ([2, 0], [2, 0]),
        (np.array([1, 1]), [1, 1]),
        ({SAMPLES[0]: 1, SAMPLES[1]: 0}, [1, 0]),
        (None, [0, 3]),
    ],
)
def test_which_sample_is_taken(source, given, taken) -> None:
    chosen = RecordedSource.of(source, sample=given)
    assert [chosen.own(sample, position) for position, sample in enumerate(SAMPLES)] == taken
    assert from_json_of(chosen) == chosen


def from_json_of(source):
    return RecordedSource.from_json(json.loads(json.dumps(source.to_json())))


def test_samples_of_one_seed_and_a_single_one(dit, source) -> None:
    single = ds.capture(dit, "another prompt", 6, blocks=[2], **PLAIN)
    assert RecordedSource.of(single).own(SAMPLES[0], 0) == 0
    assert RecordedSource.of(single, sample="seed").own(SAMPLES[1], 1) == 0
    for made in (RecordedSource.of(single, sample="seed"), RecordedSource.of(source)):
        with pytest.raises(InputError, match="none of .* source samples"):
            made.own(("a third prompt", 5), 0)
    with pytest.raises(InputError, match="2 of 4 source samples of seed 5"):
        RecordedSource.of(source, sample="seed").own(SAMPLES[0], 0)


@pytest.mark.parametrize("given", [4, -1, [0, 9], "prompt", 1.5, {"a": 0}, [[0, 1]], {}])
def test_samples_that_are_not_there_are_refused_when_the_patch_is_made(source, given) -> None:
    with pytest.raises(InputError, match="sample"):
        ds.edits.patch(source, sample=given)


def test_steps_by_noise_level(dit, source) -> None:
    own = [step.sigma for step in source.schema.steps]
    nearest = RecordedSource.of(source, match="sigma")
    assert [nearest.steps_at(9, sigma)[0] for sigma in (1.0, own[1] + 0.01, 0.0)] == [0, 1, 1]
    between = RecordedSource.of(source, match="sigma", interpolate=True)
    middle = own[0] + 0.25 * (own[1] - own[0])
    assert between.steps_at(9, middle) == (0, 1, pytest.approx(0.25))
    assert [between.steps_at(9, sigma)[2] for sigma in (2.0, own[1], 0.0)] == [0.0] * 3
    with pytest.raises(InputError, match=r"sigma 0\.\d+ of the source at step 1, and 0\.9 of the run"):
        RecordedSource.of(source).steps_at(1, 0.9)


def test_a_run_of_other_steps_takes_interpolated_values(dit, source) -> None:
    call = {**PLAIN, "num_inference_steps": 3}
    edit = ds.edits.patch(source, [7], match="sigma", interpolate=True, blocks=[2])
    visitor = EditedVisit(dit, [edit], range(3))
    found = []

    def at_visit(visit) -> None:
        visitor.apply_at(visit, dit.blocks[2], "block_output", "image")
        found.append((visit, dit.blocks[2].image[:, :, 7].clone()))

    run_traced(dit, SAMPLES, at_visit, **call)
    hidden = source.hidden(channels=[7]).sel(block=2, branch="cond", channel=7).isel(sample=[0, 3])
    for visit, value in found:
        expected = (
            hidden.drop_vars("step")
            .swap_dims(step="sigma")
            .interp(sigma=np.clip(visit.sigma, *sorted(hidden["sigma"].values)[:: len(hidden["sigma"]) - 1]))
        )
        np.testing.assert_allclose(value.numpy(), expected.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("where", "call", "words"),
    [
        ({"stream": "text"}, {}, "a source of image block_output; expected text block_output"),
        ({"site": "attn_output", "blocks": [2]}, {}, "expected image attn_output"),
        ({"blocks": [3]}, {}, "a source without block double.3"),
        ({"blocks": [2], "channels": [7, 100]}, {}, "a source without channel 100"),
        ({"blocks": [2], "channels": None}, {}, "a source without channel 100, 101"),
        ({"blocks": [2]}, {"height": 48}, "a source of 4 x 8 tokens; expected 12 x 8"),
        ({"blocks": [2]}, {"num_inference_steps": 3}, "match='sigma'"),
        (
            {"blocks": [2], "steps": [2]},
            {"num_inference_steps": 3},
            "step 2 of the run, and a source of steps 0, 1",
        ),
        ({"blocks": [2]}, {"true_cfg_scale": 2.5}, r"branch uncond too.*branches=\['cond'\]"),
    ],
)
def test_what_the_source_does_not_have_is_refused_before_the_run(dit, source, where, call, words) -> None:
    edit = ds.edits.patch(source, where.pop("channels", [7]), **where)
    with pytest.raises(InputError, match=words):
        ds.compare(dit, PROMPTS, [5], {"patch": edit}, ["psnr"], **{**PLAIN, **call})


def test_a_sample_that_the_source_does_not_have_is_refused_before_the_run(dit, source) -> None:
    edit = ds.edits.patch(source, [7], blocks=[2])
    with pytest.raises(InputError, match="none of 4 source samples of 'a red circle' with seed 7"):
        ds.compare(dit, PROMPTS, [7], {"patch": edit}, ["psnr"], **PLAIN)


def test_another_model_is_refused(untrained_folder, source) -> None:
    other = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    with pytest.raises(InputError, match="a source of .* expected one of the model that runs"):
        EditedVisit(other, [ds.edits.patch(source, [7], blocks=[2])], range(2))


def test_a_cache_gives_what_a_capture_gives_and_is_read_slice_by_slice(
    dit, source, recorded, monkeypatch
) -> None:
    read, whole = [], files.read_into

    def counted(handle, offset, data):
        read.append(whole(handle, offset, data))
        return read[-1]

    edits = [ds.edits.patch(each, [7, 8], sample=[3, 3], blocks=[2]) for each in (source, recorded)]
    monkeypatch.setattr(files, "read_into", counted)
    images = []
    for edit in edits:
        images.append(run_traced(dit, SAMPLES, EditedVisit(dit, [edit], range(2)), **PLAIN).images)
    assert np.array_equal(*images)
    chunk = np.prod(recorded.plans["image/block_output/hidden"].chunk) * 4 + 4
    journal = sum(read) - 2 * chunk  # two steps of one sample, and no more but what opening reads
    assert 0 <= journal < chunk


def test_a_cache_is_named_by_path_and_configuration(recorded) -> None:
    edit = ds.edits.patch(recorded, [7], blocks=[2])
    plain = json.loads(json.dumps(edit.to_json()))
    assert from_json(plain) == edit
    assert edit.label == "patch from a.zarr into explicit channels"
    plain["source"]["digest"] = "0" * 64
    with pytest.raises(InputError, match=r"another recording at .*a\.zarr"):
        from_json(plain)


def test_a_capture_that_is_gone_is_refused_by_name(dit) -> None:
    made = ds.capture(dit, PROMPTS[0], 1, blocks=[0], channels=[1], steps=[0], **PLAIN)
    plain = ds.edits.patch(made, [1], blocks=[0]).to_json()
    del made
    gc.collect()
    with pytest.raises(InputError, match="a capture of digest .* not in memory"):
        from_json(plain)


def test_samples_are_counted_over_all_batches(dit, source) -> None:
    """The second batch takes its own entry of a list, not the first one's again."""
    where = {"channels": range(100), "blocks": [2]}
    edits = {
        "listed": ds.edits.patch(source, sample=[3, 1], **where),
        "named": ds.edits.patch(source, sample={(PROMPTS[0], 5): 3, (PROMPTS[1], 5): 1}, **where),
        "first": ds.edits.patch(source, sample=3, **where),
    }
    images = ds.compare(dit, PROMPTS, [5], edits, ["psnr"], batch_size=1, **PLAIN)["images"]
    assert images.sel(edit="listed").equals(images.sel(edit="named").assign_coords(edit="listed"))
    assert not np.array_equal(images.sel(edit="listed"), images.sel(edit="first"))


def test_embeddings_go_by_their_label(dit, source) -> None:
    encode = dit.diffusers_pipeline.encode_prompt
    with torch.no_grad():
        embeds, pooled, _ = encode(PROMPTS[0], prompt_2=None, max_sequence_length=CALL["max_sequence_length"])
    labelled = ds.PromptEmbeds(PROMPTS[0], prompt_embeds=embeds, pooled_prompt_embeds=pooled)
    edits = {"own": ds.edits.patch(source, range(100), blocks=[2])}
    call = {**PLAIN, "negative_prompt": None}
    images = [
        ds.compare(dit, prompt, 6, edits, ["psnr"], **call)["images"].values
        for prompt in (labelled, PROMPTS[0])
    ]
    assert np.array_equal(*images)
