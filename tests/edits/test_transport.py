"""Another run's values in some channels under a mask, against plain hooks and masks made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from edited_samples import CALL, PROMPTS, SEEDS

import bare_pipeline
import ditscope as ds
from ditscope.edits.edit import from_json
from ditscope.errors import InputError
from ditscope.experiments import running

IDS, BLOCKS, SOURCE_SEED = [3, 77, 120], [2, 5], 9
SAMPLES = list(zip(PROMPTS, SEEDS, strict=True))


@pytest.fixture(scope="session")
def source(dit):
    return ds.capture(dit, PROMPTS, SOURCE_SEED, blocks=BLOCKS, batch_size=2, **CALL)


@pytest.fixture(scope="session")
def target(dit):
    return ds.capture(dit, PROMPTS, SEEDS, blocks=BLOCKS, batch_size=4, **CALL)


def masks(recorded, blocks=-1, steps=-1, channels=IDS):
    made = ds.passes.spatial_masks(recorded, channels, blocks=blocks, steps=steps)["mask"]
    assert 0 < made.mean() < 1
    return made


def of(mask, sample):
    """The mask of one (prompt, seed)."""
    found = (mask["prompt"] == sample[0]) & (mask["seed"] == sample[1])
    return mask.isel(sample=int(np.flatnonzero(found.values)[0])).values


def test_each_sample_takes_values_in_the_mask_of_its_own_image(bare, edited, plain, source, target) -> None:
    own = masks(target)
    seen = bare_pipeline.generate(bare, PROMPTS, [SOURCE_SEED] * 2, **CALL)

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in BLOCKS:
            return tensor
        tensor = tensor.clone()
        for row, sample in enumerate(SAMPLES):
            for token in np.flatnonzero(of(own, sample)).tolist():
                taken = seen.hidden[visit, block, "block_output", "image"][1 - row, token, IDS]
                tensor[row, token, IDS] += 0.5 * (taken - tensor[row, token, IDS])
        return tensor

    edit = ds.edits.transport(source, IDS, target=target, sample=[1, 0], alpha=0.5, blocks=BLOCKS)
    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): hook}, **CALL)
    images, _ = edited(edit)
    assert np.array_equal(images, expected.images)
    assert not np.array_equal(images, plain.images)
    assert edit.label.endswith("in the target's mask into explicit channels")
    assert from_json(json.loads(json.dumps(edit.to_json()))) == edit


def test_masks_of_source_both_neither_and_given(source, target) -> None:
    own, theirs = masks(target), masks(source)
    chosen = {"sample": [1, 0, 0, 1], "blocks": BLOCKS}  # of the target's four samples
    arranged = theirs.values[[1, 0, 0, 1]]
    made = ds.edits.transport(source, IDS, mask="source", target=target, **chosen).scope.tokens
    assert np.array_equal(made.values, arranged)
    assert made["prompt"].values.tolist() == own["prompt"].values.tolist()
    both = ds.edits.transport(source, IDS, mask="union", target=target, **chosen).scope.tokens
    assert np.array_equal(both.values, arranged | own.values)
    assert both["seed"].values.tolist() == own["seed"].values.tolist()
    assert ds.edits.transport(source, IDS, mask="none", **chosen).scope.tokens is None
    given = ds.edits.transport(source, IDS, mask=own.values[0], **chosen)
    assert np.array_equal(given.scope.tokens.values, own.values[0])
    assert "in a given mask" in given.label


@pytest.mark.parametrize(
    ("sample", "rows", "labelled"),
    [
        (1, 1, False),
        ([1, 0, 1], [1, 0, 1], False),
        ({(PROMPTS[1], 5): 0, (PROMPTS[0], 6): 1}, [0, 1], True),
        (None, [0, 1], True),
    ],
)
def test_the_sources_masks_without_a_target_go_where_its_samples_go(source, sample, rows, labelled) -> None:
    made = ds.edits.transport(source, IDS, mask="source", sample=sample, blocks=BLOCKS).scope.tokens
    assert np.array_equal(made.values, masks(source).values[rows])
    assert ("prompt" in made.coords) == labelled


def test_masks_of_each_block_and_step(edited, source, target) -> None:
    made = ds.edits.transport(
        source, IDS, target=target, sample=0, mask_block=None, mask_step=None, blocks=BLOCKS
    )
    own = masks(target, blocks=None, steps=None)
    tokens = made.scope.tokens
    assert np.array_equal(
        tokens.transpose("block", "step", "sample", "y", "x").values,
        own.transpose("block", "step", "sample", "y", "x").values,
    )
    _, table = edited(made)
    for entry in table.itertuples():
        here = own.sel(block=entry.block, step=entry.step)
        assert entry.tokens == of(here, SAMPLES[entry.row]).sum()
    with pytest.raises(InputError, match="masks of block 2, 5; expected one of block 3 too"):
        edited(ds.edits.transport(source, IDS, target=target, sample=0, mask_block=[2, 5], blocks=[2, 3]))


def test_the_largest_channels_are_the_sources_or_the_targets(source, target) -> None:
    for side, recorded in (("source", source), ("target", target)):
        edit = ds.edits.transport(source, 4, target=target, channels_from=side, sample=0)
        assert edit.channels == ds.passes.rank_channels(recorded).top(4)
    std = ds.edits.transport(source, 4, target=target, statistic="std", sample=0)
    assert std.channels == ds.passes.rank_channels(source, statistic="std").top(4)


def test_random_channels_in_the_mask_of_massive_ones(source, target) -> None:
    ranking = ds.passes.rank_channels(target)
    massive, random = ranking.top(4), ranking.random(4, draws=2)
    edit = ds.edits.transport(source, random, mask_channels=massive, target=target, sample=0)
    assert np.array_equal(edit.scope.tokens.values, masks(target, channels=massive).values)
    assert edit.control
    assert edit.draws == 2
    with pytest.raises(InputError, match="masks of 2 draws"):
        ds.edits.transport(source, random, target=target, sample=0)


def test_values_and_masks_are_of_one_source_sample_whatever_the_runs_order(source, target) -> None:
    chosen = [index % 2 for index in range(len(target.committed))]
    edit = ds.edits.transport(source, IDS, mask="source", target=target, sample=chosen)
    for number, index in zip(target.committed, chosen, strict=True):
        sample = (target.specs[number].prompt, target.specs[number].seed)
        assert edit.source.own(sample, 0) == edit.source.own(sample, 3) == index
        mask = masks(source).sel(sample=source.committed[index]).values
        assert np.array_equal(of(edit.scope.tokens, sample), mask)
    with pytest.raises(InputError, match="source samples for a target of"):
        ds.edits.transport(source, IDS, mask="source", target=target, sample=[*chosen, 0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "the target's hidden states, which were not passed"),
        ({"mask": "union"}, "the target's hidden states"),
        ({"mask": None}, "mask None"),
        ({"mask": np.ones((3, 3))}, "9 tokens of dtype float64"),
        ({"mask": "none", "channels": 3, "channels_from": "target"}, "the target's hidden states"),
        ({"mask": "foreground"}, "mask 'foreground'"),
        ({"mask": "none", "tokens": [1]}, "tokens= in a transport"),
        ({"mask": "source", "sample": "seed"}, "sample='seed' for the source's masks"),
        ({"mask": "source", "mask_block": 3}, "block 3"),
        ({"mask": np.zeros((3, 3))}, "dtype float64"),
    ],
)
def test_what_cannot_be_transported_is_refused(source, given, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.transport(source, **{"channels": IDS, **given})


def test_a_mask_of_another_grid_is_refused_before_the_run(dit, source) -> None:
    edit = ds.edits.transport(source, IDS, mask=np.ones((4, 4), bool), sample=0, blocks=BLOCKS)
    with pytest.raises(InputError, match="a mask of 4 x 4 tokens"):
        ds.compare(dit, PROMPTS, 5, {"move": edit}, ["psnr"], **CALL)


def test_masks_of_another_model_or_size_are_refused_before_the_run(
    dit, source, target, untrained_folder, monkeypatch
) -> None:
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    with ds.load(str(untrained_folder)) as other:
        next(other.diffusers_pipeline.transformer.parameters()).data.mul_(1.5)
        foreign = ds.capture(other, PROMPTS, SEEDS, blocks=BLOCKS, batch_size=4, **CALL)
    with pytest.raises(InputError, match="a target of weights"):
        ds.edits.transport(source, IDS, target=foreign, sample=0)
    small = ds.capture(dit, PROMPTS, SEEDS, blocks=BLOCKS, batch_size=4, **{**CALL, "height": 8})
    with pytest.raises(InputError, match="masks of source and target at different places"):
        ds.edits.transport(source, IDS, mask="union", target=small, sample=0)
    edit = ds.edits.transport(source, IDS, target=small, sample=0, blocks=BLOCKS)
    with pytest.raises(InputError, match="a mask of 2 x 8 tokens, y x x; expected a mask of 4 x 8"):
        ds.compare(dit, PROMPTS, SEEDS, edit, ["psnr"], batch_size=4, **CALL)


def test_a_target_without_the_runs_samples_is_refused_before_the_run(dit, source, target) -> None:
    edit = ds.edits.transport(source, IDS, target=target, sample=0, blocks=BLOCKS)
    with pytest.raises(InputError, match="masks of 4 samples, none of them of 'a red circle' with seed 7"):
        ds.compare(dit, PROMPTS, 7, {"move": edit}, ["psnr"], **CALL)


def test_lock_step_with_the_targets_mask(edited, target, plain) -> None:
    pairs = ds.edits.LockStep({SAMPLES[0]: SAMPLES[1]})
    images, _ = edited(ds.edits.transport(pairs, IDS, target=target, blocks=BLOCKS))
    assert not np.array_equal(images[0], plain.images[0])
    assert np.array_equal(images[1], plain.images[1])
    with pytest.raises(InputError, match="the source's hidden states"):
        ds.edits.transport(pairs, IDS, mask="source")
