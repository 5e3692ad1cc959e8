"""Given values in place of channels, against plain hooks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing import probe

IDS = [3, 77, 120]
SAMPLES = [("a red circle", 5), ("a white star", 6)]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
VALUES = np.random.default_rng(0).normal(size=(2, 10, 2, 4, 8, 128)).astype(np.float32)
"""``[step, block, sample, y, x, channel]``."""
LABELLED = xr.DataArray(
    VALUES,
    dims=("step", "block", "sample", "y", "x", "channel"),
    coords={"prompt": ("sample", ["a white star", "a red circle"]), "seed": ("sample", [6, 5])},
)
ONE = LABELLED.isel(step=0, block=0, sample=0, drop=True)


def flat(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values.reshape(*values.shape[:-3], 32, 128)[..., IDS])


def test_one_value_for_each_channel(assert_does) -> None:
    given = torch.tensor(VALUES[0, 0, 0, 0, 0])
    assert_does(ds.edits.replace(IDS, given), lambda old: given[IDS].expand_as(old), ids=IDS)


def test_a_grid_of_values_under_a_mask(assert_does) -> None:
    tokens = [1, 14, 20]
    edit = ds.edits.replace(IDS, ONE.transpose("x", "channel", "y"), tokens=tokens)
    given = flat(VALUES[0, 0, 0])[tokens]
    assert_does(edit, lambda old: given.expand_as(old), ids=IDS, tokens=tokens)


def test_each_samples_own_for_each_step_and_block(assert_does) -> None:
    assert_does(
        ds.edits.replace(IDS, LABELLED),
        lambda old, place: flat(VALUES[place[0], place[2], ::-1].copy()),
        ids=IDS,
        placed=True,
    )


def test_values_of_a_text(assert_does) -> None:
    given = torch.randn(24, 128)
    edit = ds.edits.replace(IDS, given, stream="text")
    assert_does(edit, lambda old: given[:, IDS].expand_as(old), ids=IDS, place=("block_output", "text"))


def test_what_was_there_changes_nothing(dit, edited, plain) -> None:
    was = np.stack(
        [[plain.hidden[2 * step, b, "block_output", "image"].numpy() for b in range(10)] for step in range(2)]
    )
    given = xr.DataArray(was, dims=("step", "block", "sample", "token", "channel"))
    assert np.array_equal(edited(ds.edits.replace(None, given, branches="cond"))[0], plain.images)
    # Of the other branch, it does.
    assert not np.array_equal(edited(ds.edits.replace(None, given, branches="uncond"))[0], plain.images)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (ONE.transpose("x", "y", "channel").rename(x="y", y="x"), "values of 8 x 4 tokens"),
        (np.zeros((31, 128)), "values of 31 tokens"),
    ],
)
def test_values_of_other_tokens_are_refused_before_the_run_and_in_it(dit, edited, given, found) -> None:
    edit = ds.edits.replace(IDS, given)
    with pytest.raises(InputError, match=found):
        EditedVisit(dit, [edit], range(2)).check(probe(dit, SAMPLES, **CALL))
    with pytest.raises(InputError, match=found):
        edited(edit)


@pytest.mark.parametrize(
    ("given", "scope", "words"),
    [
        (np.zeros((2, 3, 4, 5)), {}, "value "),
        (xr.DataArray(np.zeros((3, 4)), dims=("branch", "channel")), {}, "branch"),
        (
            xr.DataArray(np.zeros((3, 4)), dims=("token", "channel"), coords={"token": [0, 1, 3]}),
            {},
            "labels .0, 1, 3. of token",
        ),
        (ONE, {"site": "attn_gate"}, "values for each token at attn_gate"),
        (ONE, {"stream": "text"}, "an image's grid for the text stream"),
    ],
)
def test_what_are_no_values_is_refused(given: Any, scope, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.replace(IDS, given, **scope)


def test_values_of_other_samples_or_steps_are_refused(dit, edited) -> None:
    with pytest.raises(InputError, match="no value for double.0, step 1"):
        EditedVisit(dit, [ds.edits.replace(IDS, LABELLED.isel(step=[0]).assign_coords(step=[0]))], range(2))
    with pytest.raises(InputError, match="values of 1 samples"):
        edited(ds.edits.replace(IDS, LABELLED.isel(sample=[1])))
    looked = probe(dit, SAMPLES, **CALL)
    with pytest.raises(InputError, match="values of 1 samples"):  # before a run
        edit = ds.edits.replace(IDS, LABELLED.isel(sample=[1]))
        EditedVisit(dit, [edit], range(2)).check(looked, [SAMPLES])
