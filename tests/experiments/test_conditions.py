"""Conditions as mappings mean them, their draws and controls."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.experiments.conditions import Condition, conditions
from ditscope.models.visits import Visit
from ditscope.tracing.probe import probe

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}


def drawn(n_draws: int, first: int, *, control: bool = True) -> ds.edits.Edit:
    """An edit of one channel a draw, counted from ``first``."""
    ids = xr.DataArray(np.arange(first, first + n_draws)[:, None], dims=("draw", "rank"))
    return ds.edits.zero(ChannelSet(ids, control=control))


def channels(condition: Condition, number: int) -> list[list[int]]:
    return [edit.channels[0].tolist() for edit in condition.draw(number).edits]


def test_an_edit_with_fewer_draws_begins_again() -> None:
    (condition,) = conditions({"both": [drawn(3, 10), drawn(2, 20), ds.edits.zero([5, 6])]})
    assert condition.draws == 3
    found = [channels(condition, number) for number in range(3)]
    assert found == [[[10], [20], [5, 6]], [[11], [21], [5, 6]], [[12], [20], [5, 6]]]
    assert all(edit.draws == 1 for edit in condition.draw(2).edits)


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
    assert (baseline.control, baseline.draws, baseline.draw(0)) == (False, 1, baseline)


@pytest.mark.parametrize("given", [{3: drawn(1, 0)}, {"a": [drawn(1, 0), None]}, {"a": ()}])
def test_what_is_no_edit_under_a_name_is_refused(given) -> None:
    with pytest.raises(InputError, match="a name with one edit or a list of edits, or with a guidance"):
        conditions(given)


@pytest.mark.parametrize("given", [None, {}, [drawn(1, 0)]])
def test_what_is_no_mapping_or_an_empty_one_is_refused(given) -> None:
    with pytest.raises(InputError, match="expected a dict of name -> edit"):
        conditions(given)


def test_one_edit_goes_by_its_label() -> None:
    (condition,) = conditions(ds.edits.zero([3], blocks="single"))
    assert (condition.name, condition.edits[0].label) == (ds.edits.zero([3]).label,) * 2


def test_a_later_draw_that_the_model_lacks_is_refused_before_the_first(dit) -> None:
    looked = probe(dit, [("a red circle", 0)], **CALL)
    Condition("fits", (drawn(2, dit.width - 2),)).check(dit, looked)
    with pytest.raises(InputError, match=f"channel {dit.width} "):
        Condition("late", (drawn(2, dit.width - 1),)).check(dit, looked)


def test_a_guidance_is_a_condition_of_its_degraded_branch() -> None:
    guidance = ds.guidance.from_edits(drawn(2, 10), 2.0, match_norm_of=drawn(3, 20))
    (condition,) = conditions({"guided": guidance})
    assert (condition.draws, condition.control, condition.to_json()) == (3, True, guidance.to_json())
    assert [channels(condition, number) for number in range(3)] == [[[10]], [[11]], [[10]]]
    third = condition.draw(2).guidance
    assert third is not None
    assert third.match_norm_of[0].channels[0].tolist() == [22]


def test_a_guidance_differs_from_the_unedited_run_in_visits_of_both_its_branches() -> None:
    class Model:
        blocks = tuple(SimpleNamespace(index=index, name=str(index), kind="single") for index in range(4))

    visits = [Visit(index, index // 2, 1.0, 1.0, (("cond", "uncond")[index % 2],)) for index in range(6)]
    late, early = ds.edits.zero([3], blocks=2, steps=[1, 2]), ds.edits.zero([3], blocks=3, steps=[0, 1])
    for given, expected in (
        (late, [None, None, 3, 3, 3, 3]),
        (ds.guidance.from_edits(late, 2.0), [None, None, 0, None, 0, None]),
        (ds.guidance.from_edits(late, 2.0, match_norm_of=early), [None, None, 0, None, None, None]),
    ):
        (condition,) = conditions({"one": given})
        assert condition.recomputed_from(Model, visits, range(3)) == expected


def test_a_guidance_beside_edits_under_one_name_is_refused() -> None:
    with pytest.raises(InputError, match="a guidance alone under a text as its name"):
        conditions({"both": [ds.edits.zero([3]), ds.guidance.detail([3], 2.0, 1)]})
