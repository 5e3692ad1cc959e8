"""Channels at their mean against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError

IDS = [3, 77, 120]
MASK = np.zeros((4, 8), dtype=bool)
MASK[1:4, 5:] = True


def own_mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean(dim=1, keepdim=True).expand_as(values)


def levels(width: int = 128, blocks: int = 10) -> xr.DataArray:
    return xr.DataArray(
        np.random.default_rng(0).normal(size=(width, blocks)),
        dims=("channel", "block"),
        coords={"channel": range(width), "block": range(blocks)},
    )


def test_the_own_mean_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.mean(IDS), own_mean, ids=IDS)


def test_the_mean_of_a_mask_is_what_a_plain_hook_does(assert_does) -> None:
    assert_does(ds.edits.mean(IDS, tokens=MASK), own_mean, ids=IDS, tokens=np.flatnonzero(MASK).tolist())


def test_a_calibrated_mean_sets_the_given_level(edited, bare) -> None:
    given = levels()

    def level(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        for channel in IDS:
            tensor[:, :, channel] = float(np.float32(given.sel(channel=channel, block=block)))
        return tensor

    hooks = {("block_output", "image"): level}
    call = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
    expected = bare_pipeline.generate(bare, ["a red circle", "a white star"], [5, 6], edits=hooks, **call)
    assert np.array_equal(edited(ds.edits.mean(IDS, calibration=given))[0], expected.images)


def test_bfloat16_is_edited_in_bfloat16(untrained_folder, edited) -> None:
    dit = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    bare = bare_pipeline.opened(untrained_folder, torch.bfloat16)

    def mean(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[:, :, IDS] = own_mean(tensor[:, :, IDS].float()).to(torch.bfloat16)
        return tensor

    hooks = {("block_output", "image"): mean}
    call = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
    expected = bare_pipeline.generate(bare, ["a red circle", "a white star"], [5, 6], edits=hooks, **call)
    assert np.array_equal(edited(ds.edits.mean(IDS), model=dit)[0], expected.images)


def test_a_mean_is_a_control_unless_the_caller_says_otherwise() -> None:
    assert ds.edits.mean(IDS).control is True
    assert ds.edits.mean(IDS, control=False).control is False


@pytest.mark.parametrize("calibration", [3, xr.DataArray(np.zeros(3), dims="channel"), levels().astype(str)])
def test_a_calibration_that_is_no_table_of_means_is_refused(calibration) -> None:
    with pytest.raises(InputError, match="a DataArray of numbers with dims"):
        ds.edits.mean(IDS, calibration=calibration)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (levels(width=100), "no calibration mean for double.0"),
        (levels(blocks=4), "no calibration mean for single.0"),
        (levels().where(levels()["channel"] != 77), "calibration mean nan for double.0, channel 77"),
    ],
)
def test_a_calibration_that_does_not_cover_the_edit_is_refused_before_a_run(dit, given, words) -> None:
    with pytest.raises(InputError, match=words):
        EditedVisit(dit, [ds.edits.mean(IDS, calibration=given)], range(2))


def test_a_calibration_may_be_in_the_models_own_bfloat16(dit) -> None:
    import ml_dtypes

    given = levels().astype(ml_dtypes.bfloat16)
    edit = ds.edits.mean(IDS, calibration=given)
    assert (edit.calibration == given.astype("float32").transpose("block", "channel")).all()


def test_a_calibration_may_lack_what_is_not_edited(dit) -> None:
    given = levels().where(levels()["channel"] != 5)
    EditedVisit(dit, [ds.edits.mean(IDS, calibration=given)], range(2))
