"""Edits in a run: everything in their scope and nothing else, and refusals before and during it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import Edit, EditContext, EditedVisit
from ditscope.errors import EditError, InputError
from ditscope.tracing import probe
from ditscope.tracing.run import run_traced

IDS = [3, 77, 120]
BY_BLOCK = ChannelSet.of({0: [1, 2], 6: [90]})
SAMPLES = [("a red circle", 5), ("a white star", 6)]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        ({"blocks": [1, "single.3"]}, lambda visit, block: block in (1, 7)),
        ({"blocks": [-1, "double"]}, lambda visit, block: block in (0, 1, 2, 3, 9)),
        ({"steps": -1}, lambda visit, block: visit // 2 == 1),
        ({"branches": "uncond"}, lambda visit, block: visit % 2 == 1),
    ],
    ids=["blocks by index and name", "blocks by negative index and kind", "one step", "one branch"],
)
def test_an_edit_acts_in_its_scope_alone(assert_does, scope, covers) -> None:
    assert_does(ds.edits.zero(IDS, **scope), torch.zeros_like, ids=IDS, covers=covers)


def test_channels_of_some_blocks_are_edited_there(assert_does) -> None:
    assert_does(
        ds.edits.zero(BY_BLOCK),
        torch.zeros_like,
        ids=lambda block: {0: [1, 2], 6: [90]}[block],
        covers=lambda visit, block: block in (0, 6),
    )


def test_all_parts_of_a_scope_together(assert_does) -> None:
    scope = {"blocks": "double.0", "steps": [0], "branches": ["cond"], "tokens": [31, 5, -1, 17, -32]}
    assert_does(
        ds.edits.scale(BY_BLOCK, 0.25, **scope),
        lambda values: values * 0.25,
        ids=[1, 2],
        covers=lambda visit, block: (visit, block) == (0, 0),
        tokens=[0, 5, 17, 31],
    )


class Wrong(Edit):
    """Returns what does not fit."""

    returned: ClassVar[Any] = None

    def values(self, context: EditContext) -> torch.Tensor:
        return self.returned


@pytest.mark.parametrize("returned", [torch.zeros(2, 5), torch.zeros(3, 2, 32, 3), 0.0, None])
def test_values_that_do_not_fit_are_an_error(edited, monkeypatch, returned) -> None:
    monkeypatch.setattr(Wrong, "returned", returned)
    with pytest.raises(EditError, match="broadcasts to .row, token, channel., here .2, 32, 3."):
        edited(Wrong.of(IDS, {}))


class InPlace(Edit):
    """Doubles the values where they stand."""

    def values(self, context: EditContext) -> torch.Tensor:
        return context.old.mul_(2)


def test_an_edit_that_writes_to_the_old_values_is_an_error(edited) -> None:
    with pytest.raises(EditError, match="written to"):
        edited(InPlace.of(IDS, {}))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (ds.edits.zero(IDS, blocks=["single.6"]), "block 'single.6'"),
        (ds.edits.zero(IDS, blocks=[10]), "block 10"),
        (ds.edits.zero(IDS, blocks=-11), "block -11"),
        (ds.edits.zero(IDS, blocks="triple"), "block 'triple'"),
        (ds.edits.zero(IDS, steps=[2]), "step 2"),
        (ds.edits.zero([3, 128]), "channel 128"),
        (ds.edits.zero({4: [127], 5: [500]}), "channel 500"),
        (ds.edits.zero({4: [127], 10: [5]}), "block 10"),
        (ds.edits.zero(BY_BLOCK, blocks=[0, 1]), "no channels for block double.1"),
        (ds.edits.zero(BY_BLOCK, blocks=[-10, -9]), "no channels for block double.1"),
    ],
)
def test_what_the_model_does_not_have_is_refused_before_a_run(dit, edit, words) -> None:
    with pytest.raises(InputError, match="expected") as error:
        EditedVisit(dit, [edit], range(2))
    assert words in str(error.value)


@pytest.mark.parametrize("tokens", [np.ones(31, bool), np.ones((8, 4), bool), [32], [-33]])
def test_tokens_that_do_not_fit_are_refused_before_the_run_and_in_it(dit, edited, tokens) -> None:
    edit = ds.edits.zero(IDS, tokens=tokens)
    with pytest.raises(InputError, match="token") as before:
        EditedVisit(dit, [edit], range(2)).check(probe(dit, SAMPLES, **CALL))
    with pytest.raises(InputError, match="token") as during:
        edited(edit)
    assert str(before.value) == str(during.value)


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ([ds.edits.zero(IDS, tokens=np.zeros(32, dtype=bool))], 0),
        # Both have the same label; only one fires.
        ([ds.edits.zero(IDS), ds.edits.zero(IDS, tokens=np.zeros(32, dtype=bool))], 1),
        ([ds.edits.zero(IDS), ds.edits.zero([5], branches="uncond")], 1),
    ],
)
def test_an_edit_that_never_fires_is_an_error(dit, edits, named) -> None:
    visitor = EditedVisit(dit, edits, range(2))
    run_traced(dit, SAMPLES[:1], visitor, num_inference_steps=2, **bare_pipeline.PLAIN)
    with pytest.raises(EditError, match="fired nowhere") as error:
        visitor.require_fired()
    assert str(edits[named].scope) in str(error.value)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"branches": "uncond"}, "a branch that the call has: cond"),
        ({"sigmas": (0.1, 0.3)}, "noise level 1, 0.667"),
        ({"sigmas": (0.9, 1), "steps": 1}, "at least one step"),
        ({"tokens": np.zeros((4, 8), dtype=bool)}, "a mask of no token"),
    ],
)
def test_what_can_never_fire_is_refused_before_the_run(dit, scope, words) -> None:
    call = {"num_inference_steps": 2, **bare_pipeline.PLAIN}
    with pytest.raises(EditError, match=words):
        EditedVisit(dit, [ds.edits.zero(IDS, **scope)], range(2)).check(probe(dit, SAMPLES, **call))


@pytest.mark.parametrize("named", [False, True])
def test_a_mask_for_each_sample_is_its_own(bare, edited, named) -> None:
    """By position, or by prompt and seed: the mean over each row's own tokens, bit for bit as a plain hook."""
    masks = np.random.default_rng(0).random((2, 4, 8)) < 0.3
    labels = {"prompt": ("sample", [p for p, _ in SAMPLES]), "seed": ("sample", [s for _, s in SAMPLES])}
    given = xr.DataArray(masks, dims=("sample", "y", "x"), coords=labels if named else {})
    if named:
        given = given.isel(sample=[1, 0])

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        for row in (0, 1):
            own = torch.as_tensor(np.flatnonzero(masks[row]))
            tensor[row, own[:, None], torch.tensor(IDS)] *= -1
        return tensor

    prompts, seeds = zip(*SAMPLES, strict=True)
    expected = bare_pipeline.generate(
        bare, list(prompts), list(seeds), edits={("block_output", "image"): hook}, **CALL
    )
    images, table = edited(ds.edits.scale(IDS, -1.0, tokens=given))
    assert np.array_equal(images, expected.images)
    assert (table["moved"] > 0).all()


def test_the_mean_is_over_each_samples_own_tokens(dit, edited, plain) -> None:
    masks = np.random.default_rng(1).random((2, 4, 8)) < 0.3
    tokens = xr.DataArray(masks, dims=("sample", "y", "x"))
    _, table = edited(ds.edits.mean(IDS, tokens=tokens, blocks=0, steps=0, branches="cond"))
    hidden = plain.hidden[0, 0, "block_output", "image"].double().numpy()[:, :, IDS]
    for row, entry in enumerate(table.itertuples()):
        own = hidden[row, masks[row].ravel()]
        assert entry.moved == pytest.approx(((own - own.mean(0)) ** 2).sum(), rel=1e-4)


def test_masks_of_other_samples_are_refused(edited) -> None:
    masks = xr.DataArray(np.ones((1, 4, 8), bool), dims=("sample", "y", "x"))
    with pytest.raises(InputError, match="masks of 1 samples in a run that has a sample 1"):
        edited(ds.edits.zero(IDS, tokens=masks))
