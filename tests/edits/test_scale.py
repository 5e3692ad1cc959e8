"""Scaled channels against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError

IDS = [3, 77, 120]


def test_scale_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.scale(IDS, -2.5), lambda values: values * -2.5, ids=IDS)


def test_scaled_text_is_what_a_plain_hook_does(assert_does) -> None:
    edit = ds.edits.scale(IDS, 3.0, stream="text", tokens=[0, -1])
    assert_does(edit, lambda values: values * 3, ids=IDS, tokens=[0, 23], place=("block_output", "text"))


@pytest.mark.parametrize(
    "edits",
    [
        [ds.edits.scale(range(128), 1.0)],
        [ds.edits.scale(IDS, 1.0, site="block_input"), ds.edits.scale(IDS, 1.0, stream="text")],
        # Two edits of one place are applied one after the other: halving is exact.
        [ds.edits.scale(IDS, 0.5), ds.edits.scale(IDS, 2.0)],
    ],
)
def test_edits_that_come_to_nothing_give_the_same_image(edited, plain, edits) -> None:
    images, table = edited(*edits)
    assert np.array_equal(images, plain.images)
    if len(edits) == 1:
        assert not table[["removed", "moved"]].to_numpy().any()


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf"), "x", None, True, 1j])
def test_a_factor_that_is_no_finite_number_is_refused(factor) -> None:
    with pytest.raises(InputError, match="a finite number"):
        ds.edits.scale(IDS, factor)


def test_the_label_says_the_factor() -> None:
    assert ds.edits.scale(IDS, np.float32(0.5)).label == "scale by 0.5 explicit channels"


PAIRS = [(1.0, 0.5), (0.0, 2.0)]


@pytest.mark.parametrize(
    "schedule",
    [PAIRS, xr.DataArray([2.0, 0.5], dims="sigma", coords={"sigma": [0.0, 1.0]})],
    ids=["pairs", "labelled"],
)
def test_a_schedule_is_linear_in_the_noise_level(assert_does, plain, schedule) -> None:
    def rule(old, place):
        sigma = plain.scheduler[place[0]][0]
        return old * (2.0 + (0.5 - 2.0) / (1.0 - 0.0) * (sigma - 0.0))

    assert len({sigma for sigma, _ in plain.scheduler}) == 2
    assert_does(ds.edits.scale(IDS, schedule), rule, ids=IDS, placed=True)


def test_beyond_its_ends_a_schedule_stays(at_place) -> None:
    edit = ds.edits.scale(None, [(0.6, 3.0), (0.4, 1.0)])
    hidden = torch.ones(1, 1, 1)
    factors = [
        float(edit.values(at_place(hidden, step=step))) for step in range(5)
    ]  # sigma 1, 0.75, 0.5, 0.25, 0
    assert factors == pytest.approx([3, 3, 2, 1, 1])


def test_a_factor_for_each_step(dit, assert_does) -> None:
    by_step = xr.DataArray([0.25, 3.0], dims="step", coords={"step": [1, 0]})
    edit = ds.edits.scale(IDS, by_step)
    assert_does(edit, lambda old, place: old * (3.0, 0.25)[place[0]], ids=IDS, placed=True)
    with pytest.raises(InputError, match="step 2"):
        EditedVisit(dit, [edit], range(3))
    EditedVisit(dit, [ds.edits.scale(IDS, by_step, steps=[0, 1])], range(3))


@pytest.mark.parametrize(
    "factor",
    [
        [],
        [(0.0, 1.0), (0.0, 2.0)],
        [(0.0,)],
        [(0.0, float("nan"))],
        [("a", 1.0)],
        [0.5, 0.7],
        xr.DataArray([1.0], dims="sigma"),
        xr.DataArray([1.0], dims="block"),
        xr.DataArray([np.nan], dims="step"),
    ],
)
def test_what_is_no_schedule_is_refused(factor) -> None:
    with pytest.raises(InputError, match="finite number|dims"):
        ds.edits.scale(IDS, factor)
