"""``grid``: what a sweep goes over, as the edits of every combination of labels."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ditscope.checks import several
from ditscope.errors import InputError
from ditscope.experiments.conditions import Condition, Given, conditions

RESERVED = (
    *("metric", "edit", "draw", "draws", "sample", "prompt", "seed", "unit", "paired", "label", "damage"),
    *("direction", "control", "matched_to", "match_ratio", "over", "binary", "truncated", "value", "effect"),
    *("images", "y_pixel", "x_pixel", "rgb"),
)
"""Names that a result has already, beside those that begin with ``mean``, ``baseline`` and the like."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The edits of every combination of labels; see :func:`grid`.

    Attributes:
        dims: dimension -> its labels.
        cells: the conditions of each combination, the last dimension's labels following each other.
    """

    dims: Mapping[str, tuple[Any, ...]]
    cells: tuple[tuple[Condition, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of labels of each dimension."""
        return tuple(map(len, self.dims.values()))

    @property
    def edits(self) -> tuple[str, ...]:
        """Names of the edits of each cell."""
        return tuple(condition.name for condition in self.cells[0])

    @property
    def n_runs(self) -> int:
        """Runs of one batch, without its baseline."""
        return sum(condition.draws for cell in self.cells for condition in cell)

    def __repr__(self) -> str:
        size = " x ".join(f"{name} {len(labels)}" for name, labels in self.dims.items()) or "one cell"
        return f"<Grid: {size}, edits {', '.join(self.edits)}, {self.n_runs} runs of every sample>"


def grid(factory: Callable[..., Mapping[str, Given]], **dims: Iterable[Any]) -> Grid:
    """What a sweep goes over: the edits for every combination of labels, such as of blocks and steps.

    Args:
        factory: called once for each combination, with a label of each dimension by name; returns name -> edit, several
            edits applied together, or a guidance, under the same names each time. The first is what the others are
            compared with.
        **dims: dimension -> labels: different numbers, or different texts.

    Raises:
        InputError: there are no dims, or one has no labels; labels that are neither numbers nor text, or come twice; a
            name that a result has already; a factory that does not take the dims by name, returns no edits, or other
            names than before.

    Examples:
        >>> def zeroed(block, step):
        ...     return {"massive": ds.edits.zero(massive, blocks=block, steps=step)}
        >>> grid = ds.grid(zeroed, block=["double.0", "single.1"], step=range(2))
    """
    labelled = {name: _labels(name, values) for name, values in dims.items()}
    if not labelled or not all(labelled.values()):
        empty = next(iter(labelled), None)
        raise InputError(
            "a grid with no cells" + (f": {empty}= has no labels" if empty else ": no dimensions"),
            "at least one dimension, with at least one label each",
            "Pass block=range(10), say; ds.compare has no dimensions.",
        )
    try:
        inspect.signature(factory).bind(**dict.fromkeys(labelled))
    except TypeError as error:
        raise InputError(
            f"a factory that cannot be called with {', '.join(labelled)} ({error})",
            "a function of the grid's dimensions by name",
            f"Pass lambda {', '.join(labelled)}: {{...}}.",
        ) from error
    cells: list[tuple[Condition, ...]] = []
    for combination in itertools.product(*labelled.values()):
        at = dict(zip(labelled, combination, strict=True))
        where = ", ".join(f"{name}={label!r}" for name, label in at.items())
        try:
            cell = tuple(conditions(factory(**at)))
        except InputError as error:
            raise InputError(
                f"{error.found}, from the factory at {where}", error.expected, error.remedy
            ) from error
        names = [condition.name for condition in cell]
        if cells and names != [condition.name for condition in cells[0]]:
            raise InputError(
                f"edits {', '.join(names)} from the factory at {where}",
                f"those of every cell, {', '.join(condition.name for condition in cells[0])}",
                "Return the same names in the same order.",
            )
        cells.append(cell)
    return Grid(labelled, tuple(cells))


def single_cell(edits: Given | Mapping[str, Given] | None) -> Grid:
    """A grid of no dimensions."""
    return Grid({}, (tuple(conditions(edits)),))


def _labels(name: str, values: Any) -> tuple[Any, ...]:
    if name in RESERVED or name.startswith(
        ("mean", "low", "high", "contrast", "simultaneous", "fired", "energy", "baseline")
    ):
        raise InputError(f"a dimension called {name}", "a name that a result has not already", "Rename it.")
    labels = tuple(label.item() if isinstance(label, np.generic) else label for label in several(values))
    numbers = all(
        isinstance(label, int | float) and not isinstance(label, bool) and math.isfinite(label)
        for label in labels
    )
    if not numbers and not all(isinstance(label, str) for label in labels):
        raise InputError(
            f"{name}={labels!r}",
            "finite numbers alone, or texts alone",
            "Name other things, and look them up by name.",
        )
    if len(set(labels)) < len(labels):
        raise InputError(f"{name}={labels!r}", "different labels", "Drop those that come twice.")
    return labels
