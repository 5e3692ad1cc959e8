"""Edits in a run: everything in their scope and nothing else, and refusals before and during it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

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
    scope = {"blocks": "double.0", "steps": [0], "branches": ["cond"], "tokens": [95, 5, -1, 17, -96]}
    assert_does(
        ds.edits.scale(BY_BLOCK, 0.25, **scope),
        lambda values: values * 0.25,
        ids=[1, 2],
        covers=lambda visit, block: (visit, block) == (0, 0),
        tokens=[0, 5, 17, 95],
    )


class Wrong(Edit):
    """Returns what does not fit."""

    returned: ClassVar[Any] = None

    def values(self, context: EditContext) -> torch.Tensor:
        return self.returned


@pytest.mark.parametrize("returned", [torch.zeros(2, 5), torch.zeros(3, 2, 96, 3), 0.0, None])
def test_values_that_do_not_fit_are_an_error(edited, monkeypatch, returned) -> None:
    monkeypatch.setattr(Wrong, "returned", returned)
    with pytest.raises(EditError, match="broadcasts to .row, token, channel., here .2, 96, 3."):
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


@pytest.mark.parametrize("tokens", [np.ones(95, bool), np.ones((12, 8), bool), [96], [-97]])
def test_tokens_that_do_not_fit_are_refused_before_the_run_and_in_it(dit, edited, tokens) -> None:
    edit = ds.edits.zero(IDS, tokens=tokens)
    with pytest.raises(InputError, match="token") as before:
        EditedVisit(dit, [edit], range(2), probe(dit, SAMPLES, **CALL))
    with pytest.raises(InputError, match="token") as during:
        edited(edit)
    assert str(before.value) == str(during.value)


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ([ds.edits.zero(IDS, tokens=np.zeros(96, dtype=bool))], 0),
        # Both have the same label; only one fires.
        ([ds.edits.zero(IDS), ds.edits.zero(IDS, tokens=np.zeros(96, dtype=bool))], 1),
        ([ds.edits.zero(IDS), ds.edits.zero([5], branches="uncond")], 1),
    ],
)
def test_an_edit_that_never_fires_is_an_error(dit, edits, named) -> None:
    visitor = EditedVisit(dit, edits, range(2))
    run_traced(dit, SAMPLES[:1], visitor, num_inference_steps=2, **bare_pipeline.PLAIN)
    with pytest.raises(EditError, match="fired nowhere") as error:
        visitor.require_fired()
    assert str(edits[named].scope) in str(error.value)
