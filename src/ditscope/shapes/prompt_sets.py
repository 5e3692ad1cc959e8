"""Prompts of the shapes world for studies: seeded, and spread evenly over its words."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ditscope import checks
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Attributes, ObjectWords

_T = TypeVar("_T")
_SIDES = (("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"))


def prompts(count: int, seed: int = 0, *, objects: int = 1, growing: bool = False) -> list[str]:
    """Captions of scenes in which every value of every attribute comes about equally often.

    The draw is spread over all ``count`` of them, so fewer prompts are another draw. Where some are to be among others,
    as in a store that grows, take slices of one list, or ``growing=True``::

        assert prompts(6, growing=True)[:2] == prompts(2, growing=True)

    Args:
        count: number of prompts.
        seed: of the draw; the same seed gives the same prompts.
        objects: in each scene, 1 or 2. Two are small, of two colours, and lie on opposite sides: as
            :func:`ditscope.shapes.make_scene` draws them.
        growing: whether fewer prompts are the first of more, with values spread evenly over every beginning. It is
            another draw than without.

    Raises:
        InputError: ``count`` is no whole number from 1, or ``objects`` is not 1 or 2.
    """
    checks.whole_number("count", count)
    checks.whole_number("objects", objects, 1, 2)
    rng = np.random.default_rng([seed, 7] if objects == 1 else [seed, 7, objects])
    streams = iter(np.random.SeedSequence([seed, 7, objects]).spawn(16))  # one for each draw

    def drawn_by() -> np.random.Generator:
        return np.random.default_rng(next(streams)) if growing else rng

    def even(values: tuple[_T, ...]) -> list[_T]:
        return (_in_rounds if growing else _even)(values, count, drawn_by())

    colour, background = even(tuple(COLOURS)), even(tuple(COLOURS))
    _keep_apart(background, colour, rng=drawn_by())
    shape = even(SHAPES)
    if objects == 2:
        other_colour, other_shape = even(tuple(COLOURS)), even(SHAPES)
        _keep_apart(other_colour, colour, background, rng=drawn_by())
        sides, texture = even(_SIDES), even(TEXTURES)
        return [
            Attributes(
                (
                    ObjectWords("small", colour[row], shape[row], sides[row][0]),
                    ObjectWords("small", other_colour[row], other_shape[row], sides[row][1]),
                ),
                background[row],
                texture[row],
            ).caption
            for row in range(count)
        ]
    size = even(SIZES)
    place, texture = even(tuple(PLACES)), even(TEXTURES)
    return [
        Attributes(
            (ObjectWords(size[row], colour[row], shape[row], place[row]),), background[row], texture[row]
        ).caption
        for row in range(count)
    ]


def _keep_apart(colours: list[str], *others: list[str], rng: np.random.Generator) -> None:
    """Draw anew each colour that meets another thing's in its scene."""
    names = list(COLOURS)
    for row, taken in enumerate(zip(*others, strict=True)):
        while colours[row] in taken:
            colours[row] = names[
                (names.index(colours[row]) + 1 + int(rng.integers(len(names) - 1))) % len(names)
            ]


def _even(values: tuple[_T, ...], count: int, rng: np.random.Generator) -> list[_T]:
    if count < len(values):  # then the draw says which of them come at all
        values = tuple(values[number] for number in rng.permutation(len(values)))
    repeated = [values[position % len(values)] for position in range(count)]
    return [repeated[position] for position in rng.permutation(count)]


def _in_rounds(values: tuple[_T, ...], count: int, rng: np.random.Generator) -> list[_T]:
    """All values in one order, then in another, and so on: the first of them are the same whatever ``count``."""
    rounds = -(-count // len(values))
    return [values[number] for _ in range(rounds) for number in rng.permutation(len(values))][:count]
