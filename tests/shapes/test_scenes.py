"""The scene generator: seeded, exact at every resolution, true to its words."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as ModelConfiguration

from ditscope.shapes import Attributes, ObjectWords, draw_scene, make_scene, make_scenes
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES
from ditscope.shapes.scenes import _CENTRES, _POLYGONS, _RADII, PIXELS, signed_distance


@pytest.mark.parametrize("n_objects", [1, 2])
def test_a_scene_is_the_same_every_time_and_no_two_are_alike(n_objects) -> None:
    scenes = list(make_scenes(20, 5, n_objects=n_objects))
    again = [make_scene(5, index, n_objects=n_objects) for index in range(20)]
    for one, other in zip(scenes, again, strict=True):
        assert one.caption == other.caption
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.masks, other.masks)
    assert len({scene.image.tobytes() for scene in scenes}) == 20
    assert not np.array_equal(make_scene(6, 0, n_objects=n_objects).image, scenes[0].image)


def test_a_scene_has_the_stated_form() -> None:
    scene = make_scene(0, 0, n_objects=2, pixels=48)
    assert scene.image.shape == (48, 48, 3)
    assert scene.image.dtype == np.uint8
    assert scene.masks.shape == (2, 48, 48)
    assert scene.masks.dtype == bool
    assert np.array_equal(scene.mask, scene.masks[0] | scene.masks[1])
    assert make_scene(0).image.shape == (PIXELS, PIXELS, 3)


@pytest.mark.parametrize("index", range(12))
@pytest.mark.parametrize("n_objects", [1, 2])
def test_a_scene_is_the_same_at_every_resolution(index, n_objects) -> None:
    fine = make_scene(11, index, n_objects=n_objects, pixels=192)
    coarse = make_scene(11, index, n_objects=n_objects, pixels=64)
    assert fine.attributes == coarse.attributes
    # A third of a pixel in the middle of a pixel has the same centre.
    assert np.array_equal(coarse.masks, fine.masks[:, 1::3, 1::3])
    averaged = fine.image.reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.abs(averaged - coarse.image).mean() < 3


def polygon_area(corners: np.ndarray) -> float:
    x, y = corners.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


AREAS = {"circle": np.pi * 0.92**2, "ring": np.pi * (1.0**2 - 0.48**2)} | {
    name: polygon_area(corners) for name, corners in _POLYGONS.items()
}
AXIS = np.linspace(-1.5, 1.5, 601)
U, V = np.meshgrid(AXIS, AXIS)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_area_of_its_outline(shape) -> None:
    inside = signed_distance(shape, U, V) < 0
    assert inside.sum() * (AXIS[1] - AXIS[0]) ** 2 == pytest.approx(AREAS[shape], rel=0.01)


@pytest.mark.parametrize("shape", _POLYGONS)
def test_a_polygon_is_inside_where_matplotlib_says_and_as_far_as_its_outline(shape) -> None:
    corners = _POLYGONS[shape]
    u, v = np.random.default_rng(0).uniform(-1.4, 1.4, size=(2, 400))
    found = signed_distance(shape, u, v)
    assert np.array_equal(found < 0, ModelConfiguration(corners).contains_points(np.stack([u, v], axis=1)))
    share = np.linspace(0, 1, 400)[:, None, None]
    outline = (corners + share * (np.roll(corners, -1, axis=0) - corners)).reshape(-1, 2)
    nearest = np.hypot(u[:, None] - outline[:, 0], v[:, None] - outline[:, 1]).min(axis=1)
    np.testing.assert_allclose(np.abs(found), nearest, atol=5e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", PLACES)
def test_an_object_has_the_size_and_place_of_its_words(shape, size, place) -> None:
    attributes = Attributes((ObjectWords(size, "red", shape, place),), "blue", "plain")
    for seed in range(3):
        mask = draw_scene(attributes, np.random.default_rng(seed), pixels=128).mask
        low, high = (AREAS[shape] * radius**2 * 128**2 for radius in _RADII[size])
        assert 0.98 * low <= mask.sum() <= 1.02 * high
        rows, columns = np.nonzero(mask)
        centre = ((columns.min() + columns.max() + 1) / 256, (rows.min() + rows.max() + 1) / 256)
        assert np.abs(np.subtract(centre, _CENTRES[place])).max() < 0.03 + 0.15 * _RADII[size][1]


def test_edges_are_anti_aliased() -> None:
    """A pixel's colour says how much of it is covered: the cover sums to the area of a finer drawing."""
    for shape in SHAPES:
        attributes = Attributes((ObjectWords("large", "white", shape, "centre"),), "black", "plain")
        scene, fine = (
            draw_scene(attributes, np.random.default_rng(1), pixels=pixels) for pixels in (64, 512)
        )
        grey = scene.image[..., 0].astype(float)
        dark, light = np.median(grey[~scene.mask]), grey.max()
        cover = (grey - dark) / (light - dark)
        assert cover.sum() == pytest.approx(fine.mask.sum() / 64, rel=0.01)
        assert ((cover > 0.05) & (cover < 0.95)).sum() > 20


def test_the_colours_are_those_of_the_caption() -> None:
    for scene in make_scenes(60, 3):
        words = scene.attributes.objects[0]
        assert words.colour != scene.attributes.background
        inner = np.median(scene.image[scene.mask], axis=0)
        assert np.abs(inner - COLOURS[words.colour]).max() <= 10
        lightest = scene.image[~scene.mask].astype(float)
        distance = np.abs(lightest - COLOURS[scene.attributes.background]).max(axis=1)
        assert np.quantile(distance, 0.2) <= 12  # the rest is texture


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_shows_unless_it_is_plain(texture) -> None:
    attributes = Attributes((ObjectWords("small", "red", "circle", "centre"),), "yellow", texture)
    scene = draw_scene(attributes, np.random.default_rng(0))
    corner = scene.image[:20].reshape(-1, 3).astype(float)
    assert (corner.std(axis=0).max() > 10) == (texture != "plain")


def test_two_objects_differ_in_colour_lie_apart_and_do_not_touch() -> None:
    for scene in make_scenes(100, 9, n_objects=2):
        one, other = scene.attributes.objects
        assert len({one.colour, other.colour, scene.attributes.background}) == 3
        assert {one.place, other.place} in ({"left", "right"}, {"top", "bottom"})
        assert not (scene.masks[0] & scene.masks[1]).any()
        assert scene.masks.any(axis=(1, 2)).all()


def test_every_word_is_drawn() -> None:
    scenes = list(make_scenes(300, 0, pixels=8))
    found = {
        name: {getattr(s.attributes.objects[0], name) for s in scenes}
        for name in ("shape", "size", "colour", "place")
    }
    assert found == {"shape": set(SHAPES), "size": set(SIZES), "colour": set(COLOURS), "place": set(PLACES)}
    assert {scene.attributes.background for scene in scenes} == set(COLOURS)
    assert {scene.attributes.texture for scene in scenes} == set(TEXTURES)


@pytest.mark.parametrize("arguments", [{"n_objects": 0}, {"n_objects": 3}, {"pixels": 7}])
def test_what_cannot_be_drawn_is_refused(arguments) -> None:
    with pytest.raises(ValueError, match="n_objects=.* from 1 to 2|pixels=.* from 8"):
        make_scene(0, 0, **arguments)
