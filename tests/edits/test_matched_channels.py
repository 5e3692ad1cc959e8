"""Channels that match others under the edit itself, against numpy in float64."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import xarray as xr

import ditscope as ds
import edits_by_hand
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import Edit, EditedVisit
from ditscope.edits.applying import _new_values
from ditscope.edits.live_channels import Chosen
from ditscope.errors import InputError
from ditscope.tracing.probe import probe

SAMPLES = (("a", 1), ("b", 2))
WIDTH, OWN = 60, [4, 5]
HIDDEN = torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(0)) * (
    1 + 3 * (torch.arange(WIDTH) == 5)
)
NEW = {
    "zero": lambda old: 0 * old,
    "scale": lambda old: old * 0.25,
    "mean": lambda old: np.broadcast_to(old.mean(0), old.shape),
    "clamp": lambda old: old.clip(-1, 0.5),
}
EDITS = {
    "zero": ds.edits.zero(OWN),
    "scale": ds.edits.scale(OWN, 0.25),
    "mean": ds.edits.mean(OWN),
    "clamp": ds.edits.clamp(OWN, -1, 0.5),
}
BY = {
    "moved": lambda old, new: ((old - new) ** 2).sum(0),
    "removed": lambda old, new: (old**2 - new**2).sum(0),
    "energy": lambda old, new: (old**2).sum(0),
}


BY_STEP = ChannelSet(xr.DataArray([[3], [4]], dims=("step", "rank"), coords={"step": [0, 2]}))


def choose(edit: Edit, context) -> Chosen:
    return edit.channels.choose(edit, context, functools.partial(_new_values, edit))


def by_hand(amounts: np.ndarray, order: np.ndarray, own: list[int]) -> tuple[list[int], float]:
    """Channels in random order without the own, up to where their sum is closest to the own channels' amount."""
    wanted = amounts[own].sum()
    others = [channel for channel in order if channel not in own and np.isfinite(amounts[channel])]
    sums = [amounts[others[: count + 1]].sum() for count in range(len(others))]
    return sorted(others[: int(np.argmin([abs(each - wanted) for each in sums])) + 1]), wanted


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("name", EDITS)
def test_they_are_what_numpy_chooses(at_place, name, by) -> None:
    acts = torch.rand(2, 9, 1, generator=torch.Generator().manual_seed(1)) < 0.7
    edit = ds.controls.matched(EDITS[name], by, draws=2, seed=6)
    for draw, mask in ((0, None), (1, acts)):
        found = choose(edit.draw(draw), at_place(HIDDEN, acts=mask))
        for row, sample in enumerate(SAMPLES):
            own = HIDDEN[row].double().numpy()[slice(None) if mask is None else mask[row, :, 0].numpy()]
            order = edits_by_hand.random_of(sample, seed=6, draw=draw).permutation(WIDTH)
            expected, wanted = by_hand(BY[by](own, NEW[name](own)), order, OWN)
            assert np.flatnonzero(found.channels[row]).tolist() == expected
            assert float(found.wanted[row]) == pytest.approx(wanted, rel=1e-5)


def test_the_own_may_differ_by_sample_step_and_block_or_be_live(at_place) -> None:
    labels = {"prompt": ("sample", ["b", "a"]), "seed": ("sample", [2, 1]), "block": [3, 4], "step": [0, 1]}
    ids = np.arange(16).reshape(2, 2, 2, 2)  # [sample, step, block, rank]
    sets = ChannelSet(xr.DataArray(ids, dims=("sample", "step", "block", "rank"), coords=labels))
    energy = HIDDEN.double().numpy() ** 2
    for step, block in ((0, 3), (1, 4)):
        edit = ds.controls.matched(ds.edits.zero(sets))
        found = choose(edit.draw(0), at_place(HIDDEN, step=step, block=block))
        for row in range(2):
            own = ids[1 - row, step, block - 3]
            assert float(found.wanted[row]) == pytest.approx(energy[row][:, own].sum(), rel=1e-5)
            assert not found.channels[row, own].any()
    live = choose(ds.controls.matched(ds.edits.zero(ds.controls.top(3))), at_place(HIDDEN))
    top = abs(HIDDEN).double().mean(dim=1).argsort(dim=1)[:, -3:].numpy()
    for row in range(2):
        assert float(live.wanted[row]) == pytest.approx(energy[row][:, top[row]].sum(), rel=1e-5)


def test_where_all_others_have_less_all_are_taken_but_those_that_are_not_finite(at_place) -> None:
    hidden = torch.ones(1, 3, 6)
    hidden[:, :, 1], hidden[0, 0, 3] = 100, torch.nan
    found = choose(ds.controls.matched(ds.edits.zero([1])), at_place(hidden))
    assert np.flatnonzero(found.channels[0]).tolist() == [0, 2, 4, 5]


def test_amounts_are_in_the_models_dtype(at_place) -> None:
    """A change that rounding takes away is none."""
    hidden = torch.ones(1, 2, 5, dtype=torch.bfloat16)
    for factor, moved in ((1.001, 0.0), (1.01, 2 * 0.0078125**2)):
        edit = ds.controls.matched(ds.edits.scale([1], factor))
        assert float(choose(edit, at_place(hidden)).wanted) == pytest.approx(moved)


def test_what_cannot_be_matched_is_refused_before_a_run(dit) -> None:
    for edit, words in (
        (ds.edits.keep_only([3]), "which mixes channels"),
        (ds.edits.project_out(np.ones(128), channels=[3]), "channels of each sample's own"),
        (ds.edits.function([3], lambda context: context.old), "which mixes channels"),
        (ds.edits.zero([200]), "channel 200"),
        (ds.edits.zero(BY_STEP), "step 1"),
        (ds.edits.zero(range(128)), "all 128 channels"),
        (ds.edits.zero({0: [3], 99: [4]}), "block 99"),
        (
            ds.edits.mean([3], calibration=xr.DataArray(np.zeros((10, 50)), dims=("block", "channel"))),
            "no calibration mean",
        ),
    ):
        with pytest.raises(InputError, match=words):
            EditedVisit(dit, [ds.controls.matched(edit).draw(0)], range(2))


def test_sets_of_other_samples_are_refused_before_a_run(dit) -> None:
    ids = xr.DataArray(
        [[3, 7], [5, 9]],
        dims=("sample", "rank"),
        coords={"prompt": ("sample", ["a red circle"] * 2), "seed": ("sample", [5, 6])},
    )
    edit = ds.controls.matched(ds.edits.zero(ChannelSet(ids)))
    ds.compare(dit, "a red circle", [5], {"matched": edit}, ["psnr"], num_inference_steps=1, resamples=1)
    looked = probe(dit, [("a red circle", 7)], num_inference_steps=1)
    for nested in (edit, ds.controls.matched(edit.draw(0))):
        visitor = EditedVisit(dit, [nested.draw(0)], range(1))
        visitor.check(looked, [[("a red circle", 6)]])
        with pytest.raises(
            InputError, match="channels of 2 samples, none of them of 'a red circle' with seed 7"
        ):
            visitor.check(looked, [[("a red circle", 6)], [("a red circle", 7)]])


def test_an_edit_is_matched_in_the_blocks_of_its_channels(dit) -> None:
    edit = ds.controls.matched(ds.edits.zero({0: [3], 2: [4]}))
    assert [block.index for block in edit.chosen(dit.blocks)] == [0, 2]
    assert "as many channels a block" in repr(edit)
