"""The channels on which an edit acts: by block, by step, by sample, and all but those that it names."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import Edit, EditContext
from ditscope.edits.acting_channels import acting_channels
from ditscope.errors import InputError

PROMPTS, SEEDS = ["a red circle", "a white star"], [5, 6]  # of the fixtures
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
BLOCK = SimpleNamespace(index=2, kind="single", name="single.2")
IDS = np.arange(2 * 2 * 3 * 2).reshape(2, 2, 3, 2)  # [sample, step, block, rank]


class Others(Edit):
    """Zero in place of all other channels."""

    spares_channels = True

    def values(self, context: EditContext) -> torch.Tensor:
        return torch.zeros_like(context.old)


def channels(ids: np.ndarray, *dims: str) -> ChannelSet:
    coords = {"step": [0, 1]} if "step" in dims else {}
    return ChannelSet(
        xr.DataArray(
            ids, dims=(*dims, "rank"), coords={**coords, **({"block": [0, 1, 2]} if "block" in dims else {})}
        )
    )


def test_no_set_is_every_channel() -> None:
    assert acting_channels(ds.edits.zero(None), BLOCK, 0, 5).ids.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", [0, 1])
def test_a_set_by_step_is_that_steps(step) -> None:
    found = acting_channels(ds.edits.zero(channels(IDS[0], "step", "block")), BLOCK, step, 30)
    assert found.ids.tolist() == IDS[0, step, 2].tolist()
    assert found.by_sample is None


def test_a_set_by_sample_has_all_of_them_and_says_which_are_whose() -> None:
    ids = np.array([[3, 5], [5, -1]])
    found = acting_channels(ds.edits.zero(channels(ids, "sample")), BLOCK, 0, 8)
    assert found.ids.tolist() == [3, 5]
    assert found.by_sample.values.tolist() == [[True, True], [False, True]]
    spared = acting_channels(Others.of(channels(ids, "sample"), {}), BLOCK, 0, 7)
    assert spared.ids.tolist() == [0, 1, 2, 3, 4, 6]
    assert spared.by_sample.values.tolist() == [[True, True, True, False, True, True], [True] * 6]


def test_a_set_by_sample_step_and_block_is_that_places() -> None:
    found = acting_channels(ds.edits.zero(channels(IDS, "sample", "step", "block")), BLOCK, 1, 30)
    assert found.ids.tolist() == sorted(IDS[:, 1, 2].ravel())
    assert [np.array(found.ids)[row].tolist() for row in found.by_sample.values] == IDS[:, 1, 2].tolist()


def test_spared_channels_are_those_of_the_set() -> None:
    assert acting_channels(Others.of([1, 3], {}), BLOCK, 0, 5).ids.tolist() == [0, 2, 4]
    assert acting_channels(Others.of(range(5), {}), BLOCK, 0, 5).ids.tolist() == []


def test_a_set_by_something_that_no_run_has_is_refused() -> None:
    with pytest.raises(InputError, match="channels for each branch"):
        ds.edits.zero(channels(IDS[0, 0, :2], "branch"))


def test_a_step_without_a_set_is_refused_before_the_run(dit) -> None:
    edit = ds.edits.zero(channels(IDS[0, :, 0], "step"))
    edit.check(dit, range(2))
    with pytest.raises(InputError, match="step 2"):
        edit.check(dit, range(3))


def test_samples_have_channels_of_their_own_in_one_batch(bare, plain, edited) -> None:
    """Each row is edited as it would be alone: bit for bit what a plain hook does."""

    ids = np.array([[3, 77], [5, 3]])

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        for row in (0, 1):
            tensor[row, :, ids[row]] = 0
        return tensor

    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): hook}, **CALL)
    images, table = edited(ds.edits.zero(channels(ids, "sample")))
    assert np.array_equal(images, expected.images)
    assert not np.array_equal(images, plain.images)
    # In the first place of all, what was removed is what the row's own channels had.
    first = table[(table["step"] == 0) & (table["block"] == 0) & (table["branch"] == "cond")]
    before = plain.hidden[0, 0, "block_output", "image"].double()
    for row in (0, 1):
        removed = before[row][:, ids[row]].square().sum()
        assert first["removed"].iloc[row] == pytest.approx(float(removed), rel=1e-5)
