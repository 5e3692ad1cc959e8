"""Steering against plain hooks: directions of the run, of a block, of a step; strengths in both units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import ditscope as ds
import edits_by_hand
from ditscope.edits import EditedVisit
from ditscope.errors import InputError

IDS = [3, 77, 120]
ALL = list(range(128))
VALUES = np.random.default_rng(0).normal(size=(2, 10, 128)).astype(np.float32)
DIRECTION = torch.tensor(VALUES[0, 0])


def test_it_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.add(DIRECTION, -0.75), lambda old: old + -0.75 * DIRECTION, ids=ALL)


def test_a_token_can_be_turned_by_a_share_of_its_length(assert_does) -> None:
    edit = ds.edits.add(VALUES[0, 0], 0.5, channels=IDS, unit="token_norm", norm_preserving=True)
    assert_does(edit, lambda old: edits_by_hand.turned(old, DIRECTION[IDS], 0.5), ids=IDS)


def test_a_direction_of_each_step_and_block(assert_does) -> None:
    labelled = xr.DataArray(
        VALUES[:, ::-1], dims=("step", "block", "channel"), coords={"block": range(9, -1, -1)}
    )
    edit = ds.edits.add(labelled.transpose("channel", "block", "step"))
    assert_does(edit, lambda old, place: old + torch.tensor(VALUES[place[0], place[2]]), ids=ALL, placed=True)


def test_lengths_are_kept_and_a_token_of_zeros_stays_finite(at_place) -> None:
    hidden = torch.randn(2, 5, 128)
    hidden[0, 0] = 0
    new = ds.edits.add(DIRECTION, 3.0, norm_preserving=True).values(at_place(hidden))
    torch.testing.assert_close(new.norm(dim=2), hidden.norm(dim=2))
    moved = ds.edits.add(DIRECTION, 0.1, unit="token_norm").values(at_place(hidden)) - hidden
    torch.testing.assert_close(moved.norm(dim=2), 0.1 * hidden.norm(dim=2))


def test_norms_are_of_the_channels_that_are_an_images_own(at_place) -> None:
    hidden, acts = torch.randn(2, 5, 128), torch.zeros(2, 1, 128, dtype=torch.bool)
    acts[0, :, IDS], acts[1, :, 5:9] = True, True
    edit = ds.edits.add(DIRECTION, 0.1, unit="token_norm")
    new = edit.values(at_place(hidden, acts=acts))
    for row, ids in enumerate((IDS, [5, 6, 7, 8])):
        expected = (
            0.1 * DIRECTION[ids] / DIRECTION[ids].norm() * hidden[row][:, ids].norm(dim=1, keepdim=True)
        )
        torch.testing.assert_close(new[row][:, ids] - hidden[row][:, ids], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"direction": VALUES}, r"direction .*'channel'"),
        ({"direction": xr.DataArray(VALUES, dims=("sample", "block", "channel"))}, "sample"),
        ({"direction": ["a", "b"]}, "numbers with dims"),
        ({"direction": DIRECTION, "strength": float("inf")}, "strength=inf"),
        ({"direction": DIRECTION, "unit": "relative"}, "unit 'relative'"),
        ({"direction": DIRECTION, "norm_preserving": 1}, "norm_preserving 1"),
    ],
)
def test_what_is_no_direction_is_refused(wrong, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.add(**wrong)


def test_a_direction_of_another_width_is_refused_before_a_run(dit) -> None:
    for direction in (DIRECTION[:100], DIRECTION.where(torch.arange(128) != 5, torch.nan)):
        with pytest.raises(InputError, match="direction .*double.0"):
            EditedVisit(dit, [ds.edits.add(direction)], range(2))
    EditedVisit(dit, [ds.edits.add(DIRECTION[:100], channels=[3, 99])], range(2))
