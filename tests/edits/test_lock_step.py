"""Values of other images of the same batch, against plain hooks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from edited_samples import CALL, PROMPTS, SEEDS

import bare_pipeline
import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import from_json
from ditscope.errors import InputError
from ditscope.experiments import running
from ditscope.tracing.run import run_traced

IDS, BLOCKS = [3, 77, 120], [2, 5]
TARGET, SOURCE = (list(each) for each in zip(PROMPTS, SEEDS, strict=True))
PAIRS = {(PROMPTS[0], SEEDS[0]): (PROMPTS[1], SEEDS[1])}


@pytest.mark.parametrize("stream", ["image", "text"])
def test_the_target_takes_the_sources_row_and_the_source_stays(bare, edited, plain, stream) -> None:
    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in BLOCKS:
            return tensor
        tensor = tensor.clone()
        tensor[0, :, IDS] += 0.5 * (tensor[1, :, IDS] - tensor[0, :, IDS])
        return tensor

    edit = ds.edits.patch(ds.edits.LockStep(PAIRS), IDS, alpha=0.5, blocks=BLOCKS, stream=stream)
    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", stream): hook}, **CALL)
    images, table = edited(edit)
    assert np.array_equal(images, expected.images)
    assert not np.array_equal(images[0], plain.images[0])
    assert np.array_equal(images[1], plain.images[1])
    assert set(table["row"]) == {0}  # it fires in the target alone
    assert (table["moved"] > 0).all()
    assert edit.label == "patch 0.5 from lock step into explicit channels"
    assert from_json(json.loads(json.dumps(edit.to_json()))) == edit


def test_prompts_alone_stand_for_every_seed() -> None:
    source = ds.edits.LockStep({PROMPTS[0]: PROMPTS[1]})
    assert [source.source_of((PROMPTS[0], seed)) for seed in (5, 6)] == [(PROMPTS[1], 5), (PROMPTS[1], 6)]
    assert source.source_of((PROMPTS[1], 5)) is None


def test_a_source_in_another_batch_is_refused(dit) -> None:
    edit = ds.edits.patch(ds.edits.LockStep(PAIRS), blocks=BLOCKS)
    with pytest.raises(
        InputError, match=r"'a white star' with seed 6, which is not in the batch of 'a red circle'"
    ):
        run_traced(dit, [(PROMPTS[0], SEEDS[0])], EditedVisit(dit, [edit], range(2)), **CALL)


@pytest.mark.parametrize("pairs", [{PROMPTS[0]: "a third prompt"}, {"a third prompt": PROMPTS[0]}])
def test_a_sample_that_the_run_does_not_have_is_refused_before_it(dit, pairs) -> None:
    edit = ds.edits.patch(ds.edits.LockStep(pairs), blocks=BLOCKS)
    with pytest.raises(InputError, match="a run without .'a third prompt'"):
        ds.compare(dit, PROMPTS, 5, {"move": edit}, ["psnr"], batch_size=2, **CALL)


def test_a_source_in_another_batch_of_the_run_is_refused_before_it(dit, monkeypatch) -> None:
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    edit = ds.edits.patch(ds.edits.LockStep({PROMPTS[0]: PROMPTS[1]}), blocks=BLOCKS)
    # Prompt-major: a batch of two has two seeds of one prompt.
    with pytest.raises(InputError, match="with seed 5, which is not in the batch of 'a red circle'"):
        ds.compare(dit, PROMPTS, SEEDS, {"move": edit}, ["psnr"], batch_size=2, **CALL)


def test_means_of_a_comparison_are_of_the_samples_that_take_values(dit, recwarn) -> None:
    edit = ds.edits.patch(ds.edits.LockStep(PAIRS), blocks=BLOCKS)
    samples = {"prompts": PROMPTS, "seeds": SEEDS, "batch_size": 4}
    found = ds.compare(dit, edits={"move": edit}, metrics=["psnr"], resamples=50, **samples, **CALL)
    assert found["fired_by_sample"].values.tolist() == [[[8, 0, 0, 0]]]  # two blocks, branches and steps
    assert found["fired"].item() == 8
    assert np.isinf(found["value"].values[0, 0, 0, 1:]).all()
    assert found["mean"].item() == found["value"].values[0, 0, 0, 0] < 100
    assert not [each for each in recwarn if "fired on no token" in str(each.message)]


@pytest.mark.parametrize("pairs", [{}, {("a", 1): "b"}])
def test_pairs_that_say_nothing_are_refused(pairs) -> None:
    with pytest.raises(InputError, match="pairs"):
        ds.edits.LockStep(pairs)


def test_it_needs_no_choice_of_samples_or_steps() -> None:
    with pytest.raises(InputError, match="with lock step"):
        ds.edits.patch(ds.edits.LockStep(PAIRS), sample=0)
