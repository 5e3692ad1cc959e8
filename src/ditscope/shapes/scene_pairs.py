"""Pairs of scenes that show one object at two places, with points of which it is known where each has gone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.shapes.captions import PLACES, Attributes
from ditscope.shapes.scenes import PIXELS, Scene, draw_scene, make_scene

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
            where a shape has fewer; ``extent`` ``[pair]``, the longer side of the target's bounding box. Coordinate
            ``shape`` ``[pair]``; attributes ``height`` and ``width``.
    """

    scenes: tuple[Scene, ...]
    points: xr.Dataset


def scene_pairs(count: int, seed: int = 0, *, pixels: int = PIXELS) -> ScenePairs:
    """Pairs of one large object, with equal words but for its place, on two different backgrounds.

    Objects of all shapes stand upright within 0.15 radians, so that a point of the frame is one point of the object.

    Args:
        count: number of pairs.
        seed: of the draw.
        pixels: edge length of the images.
    """
    checks.whole_number("count", count)
    rng = np.random.default_rng([seed, 11])
    scenes: list[Scene] = []
    for pair in range(count):
        words, other = (make_scene(seed, 2 * pair + at).attributes for at in range(2))
        thing = replace(words.objects[0], size="large")
        here, there = rng.permutation(list(PLACES))[:2]
        # The other scene's background, or, where it has the object's colour, that of this one.
        behind = words.background if other.background == thing.colour else other.background
        for place, background, texture in (
            (here, words.background, words.texture),
            (there, behind, other.texture),
        ):
            attributes = Attributes((replace(thing, place=str(place)),), background, texture)
            scenes.append(draw_scene(attributes, rng, pixels=pixels))
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
                "shape": ("pair", [scene.attributes.objects[0].shape for scene in targets]),
            },
            attrs={"height": pixels, "width": pixels},
        ),
    )
