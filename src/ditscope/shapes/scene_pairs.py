"""Pairs of scenes that show one object at two places, with points of which it is known where each has gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.shapes.captions import COLOURS, PLACES, TEXTURES, Attributes, parse_caption
from ditscope.shapes.scenes import PIXELS, Scene, draw_scene

_ROUND = [(0.0, -0.74), (0.74, 0.0), (0.0, 0.74), (-0.74, 0.0)]
_STAR = [(0.85 * np.sin(angle), -0.85 * np.cos(angle)) for angle in 2 * np.pi * np.arange(5) / 5]
POINTS: dict[str, np.ndarray] = {
    "circle": np.array(_ROUND),
    "ring": np.array(_ROUND),
    "cross": np.array(_ROUND),
    "square": np.array([(-0.65, -0.65), (0.65, -0.65), (0.65, 0.65), (-0.65, 0.65)]),
    "triangle": np.array([(0.0, -0.7), (0.75, 0.62), (-0.75, 0.62)]),
    "star": np.array(_STAR),
}
"""Points inside each shape, near what is apart of it, in the object's own frame ``(u, v)``."""


@dataclass(frozen=True)
class ScenePairs:
    """Scenes in pairs, and their points.

    Attributes:
        scenes: source and target of each pair in turn.
        points: as :func:`ditscope.passes.correspondence` takes them: ``source`` and ``target`` ``[pair]``, positions
            in ``scenes``; ``source_points`` and ``target_points`` ``[pair, point, axis]``, ``(y, x)`` in pixels, NaN
            where a shape has fewer; ``extent`` ``[pair]``, the longer side of the target's bounding box. Coordinates
            ``shape`` and ``prompt`` ``[pair]``; attributes ``height`` and ``width``.
    """

    scenes: tuple[Scene, ...]
    points: xr.Dataset


def scene_pairs(captions: Sequence[str], seed: int = 0, *, pixels: int = PIXELS) -> ScenePairs:
    """A pair for each caption: its object, large, where the caption has it, and at another place before another ground.

    Objects of all shapes stand upright within 0.15 radians, so that a point of the frame is one point of the object.

    Args:
        captions: of one object each, such as :func:`ditscope.shapes.prompts` makes.
        seed: of places, grounds and all that captions do not say; each pair depends on it and its own number alone.
        pixels: edge length of the images.

    Raises:
        InputError: a caption that is not of the shapes world, or of two objects.
    """
    scenes: list[Scene] = []
    for number, caption in enumerate(checks.prompts(captions)):
        rng, words = np.random.default_rng([seed, number, 11]), parse_caption(caption)
        if len(words.objects) > 1:
            raise InputError(
                f"the caption {caption!r}", "one of one object", "Take prompts(count, objects=1)."
            )
        thing = replace(words.objects[0], size="large")
        place = str(rng.choice([place for place in PLACES if place != thing.place]))
        ground = str(
            rng.choice([colour for colour in COLOURS if colour not in (thing.colour, words.background)])
        )
        here = replace(words, objects=(thing,))
        there = Attributes((replace(thing, place=place),), ground, str(rng.choice(TEXTURES)))
        scenes += [draw_scene(attributes, rng, pixels=pixels) for attributes in (here, there)]
    count = len(captions)
    most = max(map(len, POINTS.values()))
    points = np.full((2, count, most, 2), np.nan)
    for at, scene in enumerate(scenes):
        own = POINTS[scene.attributes.objects[0].shape]
        points[at % 2, at // 2, : len(own)] = scene.placements[0].pixels_of(own, pixels)
    targets = scenes[1::2]
    shape = ("pair", "point", "axis")
    return ScenePairs(
        tuple(scenes),
        xr.Dataset(
            {
                "source": ("pair", np.arange(0, 2 * count, 2)),
                "target": ("pair", np.arange(1, 2 * count, 2)),
                "source_points": (shape, points[0]),
                "target_points": (shape, points[1]),
                "extent": ("pair", [max(map(np.ptp, np.nonzero(scene.mask))) + 1 for scene in targets]),
            },
            coords={
                "axis": ["y", "x"],
                "prompt": ("pair", np.array(captions, dtype=object)),
                "shape": ("pair", [scene.attributes.objects[0].shape for scene in targets]),
            },
            attrs={"height": pixels, "width": pixels},
        ),
    )
