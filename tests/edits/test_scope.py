"""Scopes: which steps and branches they cover, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.checks import find_steps
from ditscope.edits import Scope
from ditscope.errors import InputError
from ditscope.models.visits import Visit

IDS = [3, 77, 120]
MASK = np.zeros((8, 12), dtype=bool)


def test_steps_count_from_either_end() -> None:
    scope = Scope(steps=[0, -1])
    covered = [bool(scope.branches_at(Visit(step, step, 1.0, 1.0, ("cond",)), range(5))) for step in range(5)]
    assert covered == [True, False, False, False, True]


def test_branches_are_those_of_the_visit() -> None:
    both, uncond = Visit(0, 0, 1.0, 1.0, ("uncond", "cond")), Visit(0, 0, 1.0, 1.0, ("uncond",))
    assert Scope().branches_at(both, range(5)) == ("uncond", "cond")
    assert Scope(branches="cond").branches_at(both, range(5)) == ("cond",)
    assert Scope(branches="cond").branches_at(uncond, range(5)) == ()


def test_scopes_are_equal_if_they_say_the_same() -> None:
    said = {"blocks": [1, "single"], "steps": np.int64(3), "branches": "cond", "tokens": MASK}
    same = {"blocks": (1, "single"), "steps": [3], "branches": ["cond"]}
    named = xr.DataArray(MASK.T, dims=("x", "y"))
    assert Scope(**said) == Scope(**same, tokens=named)
    assert len({Scope(**said), Scope(**same, tokens=named)}) == 1
    for other in ({"steps": [2]}, {"tokens": ~MASK}, {"tokens": [1]}, {"site": "block_input"}):
        assert Scope(**{**said, **other}) != Scope(**said)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"block": 3}, "scope block; expected any of blocks"),
        ({"streams": "text"}, "scope streams; expected any of .*stream, .*One edit acts on one stream"),
        ({"stream": "sound"}, "stream 'sound'"),
        ({"site": "mlp"}, "site 'mlp'"),
        ({"site": "attn_gate", "tokens": [3]}, "tokens at attn_gate"),
        ({"sigmas": 0.5}, "sigmas=0.5"),
        ({"sigmas": (0.8, 0.2)}, "sigmas"),
        ({"sigmas": (0.1, float("nan"))}, "sigmas"),
        ({"branches": ["positive"]}, "branch 'positive'"),
        ({"branches": []}, "no branch"),
        ({"blocks": []}, "no blocks"),
        ({"blocks": [None]}, "found block None; expected an index"),
        ({"steps": ()}, "steps=()"),
        ({"steps": ["a"]}, "steps="),
        ({"steps": 1.5}, "steps=1.5"),
        ({"steps": [float("nan")]}, "steps="),
        ({"steps": True}, "steps=True"),
        ({"tokens": MASK.astype(int)}, "tokens of dtype int"),
        ({"tokens": []}, "0 tokens"),
        ({"tokens": MASK, "stream": "text"}, "a mask of an image's grid for the text stream"),
    ],
)
def test_what_no_model_has_is_refused_when_the_edit_is_made(scope, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.zero(IDS, **scope)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (ds.edits.zero(IDS, steps=[2]), "step 2"),
        (ds.edits.zero(IDS, steps=[-3]), "step -3"),
    ],
)
def test_a_step_that_the_run_does_not_have_is_refused(edit, words) -> None:
    find_steps(range(3), edit.scope.steps)
    with pytest.raises(InputError, match=words):
        find_steps(range(2), edit.scope.steps)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"sigmas": (0.25, 0.75)}, [1, 2, 3]),
        ({"sigmas": (0, 1)}, [0, 1, 2, 3, 4]),
        ({"sigmas": (0.5, 0.5)}, [2]),
        ({"sigmas": (0.3, 1), "steps": [-3, 0]}, [0, 2]),
    ],
)
def test_noise_levels_say_in_which_steps_it_acts(scope, expected) -> None:
    chosen, sigmas = Scope(**scope), [1.0, 0.75, 0.5, 0.25, 0.0]
    visits = [Visit(step, step, sigma, 1.0, ("cond",)) for step, sigma in enumerate(sigmas)]
    assert [visit.step for visit in visits if chosen.branches_at(visit, range(5))] == expected
    assert Scope.from_json(chosen.to_json()) == chosen
