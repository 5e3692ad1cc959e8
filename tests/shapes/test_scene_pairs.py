"""Pairs of scenes: one object at two places, points that lie on it in both."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError
from ditscope.shapes import draw_scene
from ditscope.shapes.captions import SHAPES
from ditscope.shapes.scene_pairs import POINTS
from ditscope.shapes.scenes import Placement, signed_distance

CAPTIONS = ds.shapes.prompts(24)


def test_a_pair_has_one_object_at_two_places() -> None:
    made = ds.shapes.scene_pairs(CAPTIONS, seed=3)
    assert made.points.sizes["pair"] == 24
    assert {str(shape) for shape in made.points["shape"].values} == set(SHAPES)
    for source, target in zip(made.scenes[::2], made.scenes[1::2], strict=True):
        one, other = source.attributes.objects[0], target.attributes.objects[0]
        assert (one.shape, one.colour, one.size) == (other.shape, other.colour, "large")
        assert one.place != other.place
        assert source.attributes.background != target.attributes.background
        assert target.attributes.background != other.colour
        assert not np.array_equal(source.image, target.image)
    assert list(made.points["prompt"].values) == CAPTIONS
    few = ds.shapes.scene_pairs(CAPTIONS[:3], seed=3)
    assert np.array_equal(few.scenes[5].image, made.scenes[5].image)
    again = ds.shapes.scene_pairs(CAPTIONS, seed=3)
    assert again.points.identical(made.points)
    assert np.array_equal(again.scenes[5].image, made.scenes[5].image)


def test_points_lie_in_the_object_and_correspond() -> None:
    made = ds.shapes.scene_pairs(CAPTIONS, seed=5, pixels=128)
    for pair in range(24):
        kind = str(made.points["shape"].values[pair])
        frames = []
        for name, scene in zip(("source", "target"), made.scenes[2 * pair :], strict=False):
            points = made.points[f"{name}_points"].values[pair]
            points = points[np.isfinite(points[:, 0])]
            assert len(points) == len(POINTS[kind])
            assert scene.mask[tuple(points.astype(int).T)].all(), kind
            at = scene.placements[0]
            y, x = (points / 128 - np.array(at.centre)[::-1]).T / at.radius
            turn = np.array([[np.cos(at.tilt), np.sin(at.tilt)], [-np.sin(at.tilt), np.cos(at.tilt)]])
            frames.append(turn @ np.stack([x, y]))
        np.testing.assert_allclose(*frames, atol=1e-12)
        mask = made.scenes[2 * pair + 1].mask
        sides = [np.flatnonzero(mask.any(axis)) for axis in (0, 1)]
        assert int(made.points["extent"][pair]) == max(side[-1] - side[0] + 1 for side in sides)


def test_points_are_inside_every_shape() -> None:
    for shape, points in POINTS.items():
        assert (signed_distance(shape, *points.T) < -0.1).all(), shape


def test_a_placement_turns_as_a_scene_does() -> None:
    """The tip of a triangle, found in the picture."""
    attributes = ds.shapes.parse_caption("a large white triangle in the centre on a plain black background")
    scene = draw_scene(attributes, np.random.default_rng(4), pixels=256)
    tip = scene.placements[0].pixels_of(np.array([(0.0, -1.05)]), 256)[0]
    y, x = np.argwhere(scene.mask)[0]
    assert abs(tip[0] - y) < 3
    assert abs(tip[1] - x) < 3
    turned = Placement((0.5, 0.5), 0.25, np.pi / 2).pixels_of(np.array([(1.0, 0.0)]), 100)
    np.testing.assert_allclose(turned, [[75, 50]])


def test_captions_of_two_objects_are_refused() -> None:
    with pytest.raises(InputError, match="one of one object"):
        ds.shapes.scene_pairs(ds.shapes.prompts(1, objects=2))
