"""What an edit sees at a place, against plain hooks on the bare pipeline."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.edits import Edit, EditContext

IDS = [3, 77, 120]
SAMPLES = [("a red circle", 5), ("a white star", 6)]


class Watch(Edit):
    """Keeps what it sees, and changes nothing."""

    seen: ClassVar[list[EditContext]] = []

    def values(self, context: EditContext) -> torch.Tensor:
        self.seen.append(context)
        return context.old


def test_an_edit_sees_where_and_in_whose_image_it_acts(dit, edited, plain) -> None:
    Watch.seen.clear()
    edit = Watch.of(IDS, {"blocks": "single.1", "tokens": [7, -1]})
    images, _ = edited(edit)
    assert np.array_equal(images, plain.images)
    assert [(c.visit.step, c.branch) for c in Watch.seen] == [
        (0, "cond"),
        (0, "uncond"),
        (1, "cond"),
        (1, "uncond"),
    ]
    for number, context in enumerate(Watch.seen):
        whole = plain.hidden[number, 5, "block_output", "image"]
        assert torch.equal(context.hidden, whole)
        assert torch.equal(context.old, whole[:, [7, 31]][:, :, IDS])
        assert context.tokens.tolist() == [7, 31]
        assert context.channels.tolist() == IDS
        assert context.samples == tuple(SAMPLES)
        assert (context.block, context.site, context.stream) == (dit.blocks[5], "block_output", "image")


@pytest.mark.parametrize(("site", "stream"), [("block_input", "text"), ("block_output", "text")])
def test_it_sees_the_stream_at_the_site_that_it_names(edited, plain, site, stream) -> None:
    Watch.seen.clear()
    edited(Watch.of(IDS, {"blocks": 2, "site": site, "stream": stream, "steps": 1}))
    for visit, context in zip((2, 3), Watch.seen, strict=True):
        whole = plain.hidden[visit, 2, site, stream]
        assert torch.equal(context.hidden, whole)
        assert torch.equal(context.old, whole[:, :, IDS])
        assert (context.site, context.stream, context.acts) == (site, stream, None)
        assert context.tokens.tolist() == list(range(24))


def test_old_values_are_a_copy_in_float32_whatever_the_models_dtype(edited, untrained_folder) -> None:
    Watch.seen.clear()
    model = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    edited(Watch.of(IDS, {"blocks": 0, "steps": 0, "branches": "cond"}), model=model)
    (context,) = Watch.seen
    assert (context.old.dtype, context.hidden.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(context.old, context.hidden[:, :, IDS].float())
    assert context.old.untyped_storage().data_ptr() != context.hidden.untyped_storage().data_ptr()
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.branch = "uncond"
