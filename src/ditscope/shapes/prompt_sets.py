"""Prompts of the shapes world for studies: seeded, and spread evenly over its words."""

from __future__ import annotations

import numpy as np

from ditscope import checks
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Attributes, ObjectWords


def prompts(count: int, seed: int = 0) -> list[str]:
    """Captions of one-object scenes in which every value of every attribute comes about equally often.

    Args:
        count: number of prompts.
        seed: of the draw; the same seed gives the same prompts.

    Raises:
        InputError: ``count`` is no whole number from 1.
    """
    checks.whole_number("count", count)
    rng = np.random.default_rng([seed, 7])
    colour, background = _even(tuple(COLOURS), count, rng), _even(tuple(COLOURS), count, rng)
    names = list(COLOURS)
    for row in range(count):
        if colour[row] == background[row]:
            background[row] = names[
                (names.index(colour[row]) + 1 + int(rng.integers(len(names) - 1))) % len(names)
            ]
    shape, size = _even(SHAPES, count, rng), _even(SIZES, count, rng)
    place, texture = _even(tuple(PLACES), count, rng), _even(TEXTURES, count, rng)
    return [
        Attributes(
            (ObjectWords(size[row], colour[row], shape[row], place[row]),), background[row], texture[row]
        ).caption
        for row in range(count)
    ]


def _even(values: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    if count < len(values):  # then the draw says which of them come at all
        values = tuple(rng.permutation(values).tolist())
    repeated = [values[position % len(values)] for position in range(count)]
    return [repeated[position] for position in rng.permutation(count)]
