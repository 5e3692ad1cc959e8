"""Subspaces taken out of the hidden state, against plain hooks and numpy."""

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
VALUES = np.random.default_rng(0).normal(size=(10, 2, 128)).astype(np.float32)


def test_it_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.project_out(VALUES[0]), lambda old: edits_by_hand.without(old, VALUES[0]), ids=ALL)


def test_a_direction_of_each_block_within_some_channels(assert_does) -> None:
    labelled = xr.DataArray(VALUES[:, 0], dims=("block", "channel"))
    assert_does(
        ds.edits.project_out(labelled, channels=IDS),
        lambda old, place: edits_by_hand.without(old, VALUES[place[2], :1][:, IDS]),
        ids=IDS,
        placed=True,
    )


def test_nothing_is_left_of_it_and_twice_reflects(at_place) -> None:
    hidden = torch.randn(2, 5, 128)
    new = ds.edits.project_out(VALUES[0]).values(at_place(hidden))
    given = torch.tensor(VALUES[0])
    assert (new @ given.T).abs().max() < 1e-4
    # Least squares: what is taken out is the nearest point of the span.
    nearest = (
        np.linalg.lstsq(VALUES[0].T.astype(float), hidden[1, 2].double().numpy(), rcond=None)[0] @ VALUES[0]
    )
    np.testing.assert_allclose((hidden - new)[1, 2], nearest, atol=1e-5)
    reflected = ds.edits.project_out(VALUES[0], 2.0).values(at_place(hidden))
    torch.testing.assert_close(reflected.norm(dim=2), hidden.norm(dim=2))
    torch.testing.assert_close(reflected @ given.T, -(hidden @ given.T), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("directions", "channels", "words"),
    [
        (np.stack([VALUES[0, 0], 2 * VALUES[0, 0]]), None, "2 directions in 128 channels at double.0"),
        (np.zeros(128), None, "1 directions in 128 channels"),
        (VALUES[:5, 0], [1, 2, 3], "5 directions in 3 channels"),
        (VALUES[0, :, :100], None, "no direction for double.0"),
    ],
)
def test_directions_that_span_nothing_are_refused_before_a_run(dit, directions, channels, words) -> None:
    with pytest.raises(InputError, match=words):
        EditedVisit(dit, [ds.edits.project_out(directions, channels=channels)], range(2))


def test_channels_of_each_images_own_are_refused() -> None:
    by_sample = ds.ChannelSet(xr.DataArray([[1], [2]], dims=("sample", "rank")))
    for channels in (by_sample, ds.controls.top(3)):
        with pytest.raises(InputError, match="channels of each sample's own"):
            ds.edits.project_out(VALUES[0], channels=channels)
    assert ds.edits.project_out(VALUES[0]).label == "project 2 directions out of all channels"
