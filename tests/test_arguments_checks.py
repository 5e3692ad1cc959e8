"""Prompts, seeds, numbers and names are put in their plain form, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope import checks
from ditscope.errors import InputError


def test_single_prompts_and_seeds_become_lists() -> None:
    assert checks.prompts("a") == ["a"]
    assert checks.prompts(np.array(["a", "b"])) == ["a", "b"]
    assert checks.seeds(3) == checks.seeds(np.int64(3)) == [3]
    assert checks.seeds(range(2)) == checks.seeds(np.arange(2)) == [0, 1]
    assert all(type(seed) is int for seed in checks.seeds(np.arange(2)))


@pytest.mark.parametrize("prompts", [[], "", "  ", None, 5, b"circle", ["circle", ""], ["circle", None]])
def test_unusable_prompts_are_refused(prompts) -> None:
    with pytest.raises(InputError, match="expected one or more non-empty strings"):
        checks.prompts(prompts)


@pytest.mark.parametrize("seeds", [[], None, 1.5, "3", True, [1, 1], [0, None], [2**63], [0, 1.0]])
def test_unusable_seeds_are_refused(seeds) -> None:
    with pytest.raises(InputError, match="expected one or more different integers"):
        checks.seeds(seeds)


@pytest.mark.parametrize("batch_size", [0, -1, 1.0, True, None, "2"])
def test_unusable_batch_sizes_are_refused(batch_size) -> None:
    with pytest.raises(InputError, match="expected a whole number from 1"):
        checks.whole_number("batch_size", batch_size)


@pytest.mark.parametrize("check", [checks.streams, checks.sites, checks.branches])
@pytest.mark.parametrize("names", [[], ["sideways"], None, 3])
def test_unknown_names_are_refused_with_the_known_ones(check, names) -> None:
    with pytest.raises(InputError, match=r"expected (one of|at least one of) "):
        check(names)


def test_names_are_put_in_the_order_of_the_vocabulary() -> None:
    assert checks.streams("text") == ("text",)
    assert checks.streams(["text", "image", "text"]) == ("image", "text")
    assert checks.sites(["block_output", "block_input"]) == ("block_input", "block_output")
