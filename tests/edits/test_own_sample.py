"""Which labelled sample is a run's own: by prompt and seed, else by position."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope.edits.own_sample import own_sample
from ditscope.errors import InputError

PLAIN = xr.DataArray(np.arange(3), dims="sample")
NAMED = PLAIN.assign_coords(prompt=("sample", ["a", "b", "a"]), seed=("sample", [1, 1, 2]))


def test_it_goes_by_position_without_labels() -> None:
    assert [own_sample(PLAIN, ("z", 9), position, "masks") for position in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("sample", "expected"), [(("a", 2), 2), (("b", 1), 1), (("a", 1), 0)])
def test_it_goes_by_prompt_and_seed_where_they_are_labelled(sample, expected) -> None:
    assert own_sample(NAMED, sample, 1 - expected, "masks") == expected


@pytest.mark.parametrize("sample", [("a", 3), ("c", 1), (None, 1)])
def test_a_sample_that_is_not_there_is_refused_though_its_position_is(sample) -> None:
    with pytest.raises(InputError, match="masks of 3 samples, none of them"):
        own_sample(NAMED, sample, 0, "masks")


def test_two_of_one_prompt_and_seed_are_refused() -> None:
    twice = NAMED.assign_coords(seed=("sample", [1, 1, 1]))
    with pytest.raises(InputError, match="2 of them of 'a' with seed 1"):
        own_sample(twice, ("a", 1), 0, "channels")


def test_a_run_of_more_samples_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="a run that has a sample 3"):
        own_sample(PLAIN, ("a", 1), 3, "masks")
