"""Each sample gets another one's values; ``tests/families/test_patch.py`` holds it against plain hooks."""

from __future__ import annotations

import pytest
from edited_samples import CALL, PROMPTS

import ditscope as ds
from ditscope.errors import InputError


@pytest.fixture(scope="module")
def source(dit):
    kept = {"blocks": [0], "channels": [1, 2], "steps": [0], "branches": ["cond"]}
    return ds.capture(dit, PROMPTS, range(3), batch_size=6, **kept, **CALL)


@pytest.mark.parametrize(("how", "expected"), [({}, [1, 2, 3, 4, 5, 0]), ({"shift": -2}, [4, 5, 0, 1, 2, 3])])
def test_each_takes_the_one_further_on(source, how, expected) -> None:
    edit = ds.edits.resample([1], source, **how)
    assert edit.source.sample.values.tolist() == expected
    assert edit.source.sample["seed"].values.tolist() == [0, 1, 2, 0, 1, 2]
    assert edit.control
    assert not ds.edits.resample([1], source, control=False).control


def test_at_random_none_takes_its_own_and_all_are_taken(source) -> None:
    taken = {
        seed: ds.edits.resample([1], source, seed=seed).source.sample.values.tolist() for seed in range(9)
    }
    for order in taken.values():
        assert sorted(order) == list(range(6))
        assert all(own != other for own, other in enumerate(order))
    assert len(set(map(tuple, taken.values()))) > 5
    assert ds.edits.resample([1], source, seed=3).source.sample.values.tolist() == taken[3]


@pytest.mark.parametrize("shift", [0, 6, -6, 1.5])
def test_a_shift_to_oneself_is_refused(source, shift) -> None:
    with pytest.raises(InputError, match="shift="):
        ds.edits.resample([1], source, shift=shift)
