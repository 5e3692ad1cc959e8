"""Conditions as mappings mean them, their draws and controls; runs whose firings know their sample."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from tqdm.auto import tqdm

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import EditError, InputError
from ditscope.experiments.running import Condition, conditions, run_condition
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}


def drawn(n_draws: int, first: int, *, control: bool = True) -> ds.edits.Edit:
    """An edit of one channel a draw, counted from ``first``."""
    ids = xr.DataArray(np.arange(first, first + n_draws)[:, None], dims=("draw", "rank"))
    return ds.edits.zero(ChannelSet(ids, control=control))


def channels(condition: Condition, number: int) -> list[list[int]]:
    return [edit.channels[0].tolist() for edit in condition.draw(number)]


def test_an_edit_with_fewer_draws_begins_again() -> None:
    (condition,) = conditions({"both": [drawn(3, 10), drawn(2, 20), ds.edits.zero([5, 6])]})
    assert condition.draws == 3
    found = [channels(condition, number) for number in range(3)]
    assert found == [[[10], [20], [5, 6]], [[11], [21], [5, 6]], [[12], [20], [5, 6]]]
    assert all(edit.draws == 1 for edit in condition.draw(2))


def test_conditions_keep_order_and_names_and_are_controls_only_as_a_whole() -> None:
    control, tested = drawn(2, 0), ds.edits.zero([1])
    found = conditions({"z": control, "a": (control, control), "mixed": [control, tested], "random": tested})
    assert [(each.name, len(each.edits), each.control) for each in found] == [
        ("z", 1, True),
        ("a", 2, True),
        ("mixed", 2, False),
        ("random", 1, False),
    ]
    baseline = Condition("baseline")
    assert (baseline.control, baseline.draws, baseline.draw(0)) == (False, 1, [])


@pytest.mark.parametrize("given", [{3: drawn(1, 0)}, {"a": [drawn(1, 0), None]}, {"a": ()}])
def test_what_is_no_edit_under_a_name_is_refused(given) -> None:
    with pytest.raises(InputError, match="a name with one edit or a list of edits"):
        conditions(given)


@pytest.mark.parametrize("given", [None, {}, [drawn(1, 0)], drawn(1, 0)])
def test_what_is_no_mapping_or_an_empty_one_is_refused(given) -> None:
    with pytest.raises(InputError, match="expected a dict of name -> edit"):
        conditions(given)


def test_an_edit_that_fires_nowhere_is_no_result(dit) -> None:
    batches = batches_of(["a red circle"], [3], 1, CALL)
    looked, edits = probe(dit, batches[0].samples, **CALL), [ds.edits.zero([1], branches="uncond")]
    with pytest.raises(EditError, match="fired nowhere"):
        run_condition(dit, batches, edits, looked, tqdm(disable=True))


def test_a_later_draw_that_the_model_lacks_is_refused_before_the_first(dit) -> None:
    looked = probe(dit, [("a red circle", 0)], **CALL)
    Condition("fits", (drawn(2, dit.width - 2),)).check(dit, looked)
    with pytest.raises(InputError, match=f"channel {dit.width} "):
        Condition("late", (drawn(2, dit.width - 1),)).check(dit, looked)


def test_firings_and_images_of_a_partial_batch_are_of_their_own_samples(dit) -> None:
    batches = batches_of(["a red circle", "a white star", "a blue ring"], [3], 2, CALL)
    looked, edits = probe(dit, batches[0].samples, **CALL), [ds.edits.zero(range(12), blocks=[0, 7])]
    with tqdm(total=6, disable=False, leave=False) as progress:
        baseline = run_condition(dit, batches, (), looked, progress)
        run = run_condition(dit, batches, edits, looked, progress)
        assert progress.n == 6
    assert baseline.firings.empty
    assert run.firings.groupby("block")["sample"].apply(list).to_dict() == {0: [0, 1, 2], 7: [0, 1, 2]}
    alone = run_condition(dit, batches[1:], edits, looked, tqdm(disable=True))
    assert np.array_equal(run.images[2], alone.images[0])
    third = run.firings[run.firings["sample"] == 2]
    for name in ("energy", "removed", "moved"):
        assert third[name].tolist() == alone.firings[name].tolist()
    assert not np.array_equal(run.images, baseline.images)
