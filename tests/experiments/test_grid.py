"""Grids: every combination once, by name, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError
from ditscope.experiments.grid import single_cell


def zeroed(block=0, step=0, k=1):
    return {"massive": ds.edits.zero(range(k), blocks=block, steps=step), "one": [ds.edits.zero([9])]}


def test_cells_are_every_combination_and_the_last_dimension_runs_fastest() -> None:
    found = ds.grid(zeroed, block=np.arange(2), step=(3, 5, 7))
    assert found.dims == {"block": (0, 1), "step": (3, 5, 7)}
    assert (found.shape, found.edits, found.n_runs) == ((2, 3), ("massive", "one"), 12)
    scopes = [cell[0].edits[0].scope for cell in found.cells]
    expected = [(block, step) for block in (0, 1) for step in (3, 5, 7)]
    assert [(scope.blocks[0], scope.steps[0]) for scope in scopes] == expected
    assert repr(found) == "<Grid: block 2 x step 3, edits massive, one, 12 runs of every sample>"


def test_labels_may_be_texts_or_one_alone() -> None:
    found = ds.grid(zeroed, block=["single.1", "single.0"], k=3)
    assert found.dims == {"block": ("single.1", "single.0"), "k": (3,)}
    assert found.cells[1][0].edits[0].channels[0].tolist() == [0, 1, 2]
    assert single_cell(zeroed()).shape == ()


@pytest.mark.parametrize(
    ("factory", "dims", "words"),
    [
        (zeroed, {}, "a grid with no cells: no dimensions"),
        (zeroed, {"block": []}, "a grid with no cells: block= has no labels"),
        (zeroed, {"block": [1, 1]}, "different labels"),
        (zeroed, {"block": [1, "a"]}, "numbers alone, or texts alone"),
        (zeroed, {"block": [True]}, "numbers alone, or texts alone"),
        (zeroed, {"block": [None]}, "numbers alone, or texts alone"),
        (zeroed, {"block": [1.0, float("nan")]}, "finite numbers alone, or texts alone"),
        (zeroed, {"sample": [1]}, "a dimension called sample"),
        (zeroed, {"mean_of": [1]}, "a dimension called mean_of"),
        (zeroed, {"blocks": [1]}, "a factory that cannot be called with blocks"),
        (lambda block, step: {}, {"block": [1]}, "a factory that cannot be called with block"),
        (lambda block: {}, {"block": [1]}, "no edits, from the factory at block=1"),
        (lambda block: None, {"block": [1]}, "no edits, from the factory at block=1"),
        (lambda block: {"a": "zero"}, {"block": ["x"]}, "edits 'a': 'zero', from the factory at block='x'"),
        (lambda k: {str(k): ds.edits.zero([1])}, {"k": [1, 2]}, "edits 2 from the factory at k=2"),
    ],
)
def test_what_is_no_grid_is_refused(factory, dims, words) -> None:
    with pytest.raises(InputError) as error:
        ds.grid(factory, **dims)
    assert words in str(error.value)
