"""A seeded generator of captioned scenes with exact foreground masks.

A scene is one or two flat shapes on a textured background. Shapes are drawn from signed
distances, so edges are anti-aliased and the mask is exact at any resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ditscope import checks
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Attributes, ObjectWords

PIXELS = 64
"""Edge length of a scene in pixels."""

TEXTURE_DEPTH = 0.28
"""How far a texture's dark parts move from the background colour towards mid-grey (0 to 1)."""

MID_GREY = 128.0
"""What a texture's dark parts move towards, 0 to 255."""
_CENTRES = {
    "left": (0.29, 0.5),
    "right": (0.71, 0.5),
    "top": (0.5, 0.29),
    "bottom": (0.5, 0.71),
    "centre": (0.5, 0.5),
}
_RADII = {"small": (0.145, 0.175), "large": (0.235, 0.265)}


@dataclass(frozen=True)
class Placement:
    """Where an object's own frame, in which it has radius 1 and ``v`` points down, lies in a scene.

    Attributes:
        centre: ``(x, y)``, in edge lengths of the image.
        radius: in edge lengths.
        tilt: in radians.
    """

    centre: tuple[float, float]
    radius: float
    tilt: float

    def pixels_of(self, points: np.ndarray, pixels: int) -> np.ndarray:
        """Points ``(u, v)`` of the frame as ``(y, x)`` in pixels of an image, pixel 0 reaching from 0 to 1."""
        u, v = np.asarray(points, dtype=float).T
        x = self.centre[0] + self.radius * (np.cos(self.tilt) * u - np.sin(self.tilt) * v)
        y = self.centre[1] + self.radius * (np.sin(self.tilt) * u + np.cos(self.tilt) * v)
        return np.stack([y, x], axis=-1) * pixels


@dataclass(frozen=True)
class Scene:
    """One drawn scene.

    Attributes:
        image: uint8 ``[y, x, rgb]``, pixels.
        masks: bool ``[object, y, x]``, True where the object covers more than half of the pixel.
        attributes: what the caption says.
        placements: where each object lies.
    """

    image: np.ndarray
    masks: np.ndarray
    attributes: Attributes
    placements: tuple[Placement, ...]

    @property
    def caption(self) -> str:
        """The sentence that names the scene's attributes."""
        return self.attributes.caption

    @property
    def mask(self) -> np.ndarray:
        """Foreground, bool ``[y, x]``: the union of the objects' masks."""
        return np.asarray(self.masks.any(axis=0))


def make_scene(seed: int, index: int = 0, *, n_objects: int = 1, pixels: int = PIXELS) -> Scene:
    """Draw the scene numbered ``index`` of the stream ``seed``.

    The same ``(seed, index, n_objects)`` gives the same scene at every resolution.

    Args:
        seed: names an endless stream of scenes.
        index: position in that stream.
        n_objects: 1, or 2 (two objects differ in colour and lie on opposite sides).
        pixels: edge length of the square image.

    Raises:
        InputError: ``n_objects`` is not 1 or 2, or ``pixels`` is under 8.
    """
    checks.whole_number("n_objects", n_objects, 1, 2)
    checks.whole_number("pixels", pixels, 8)
    rng = np.random.default_rng([seed, index, n_objects])
    attributes = _draw_attributes(rng, n_objects)
    return draw_scene(attributes, rng, pixels=pixels)


def make_scenes(count: int, seed: int, *, n_objects: int = 1, pixels: int = PIXELS) -> Iterator[Scene]:
    """The first ``count`` scenes of the stream ``seed``, one at a time."""
    for index in range(count):
        yield make_scene(seed, index, n_objects=n_objects, pixels=pixels)


def draw_scene(attributes: Attributes, rng: np.random.Generator, *, pixels: int = PIXELS) -> Scene:
    """Draw given attributes, with position, size, tilt, tint and texture phase from ``rng``."""
    # All random numbers are drawn before anything that depends on the resolution.
    background_rgb = _tint(attributes.background, rng)
    phase = rng.uniform(0.0, 1.0, size=2)
    period = rng.uniform(0.13, 0.17)
    diagonal = bool(rng.integers(2))
    placed = [_place_object(words, rng) for words in attributes.objects]

    axis = (np.arange(pixels) + 0.5) / pixels
    y, x = np.meshgrid(axis, axis, indexing="ij")
    pattern = _texture(attributes.texture, x, y, phase, period, diagonal, pixels)[..., None]
    canvas = background_rgb + TEXTURE_DEPTH * pattern * (MID_GREY - background_rgb)
    masks = []
    for words, (at, rgb) in zip(attributes.objects, placed, strict=True):
        dx, dy = (x - at.centre[0]) / at.radius, (y - at.centre[1]) / at.radius
        u = np.cos(at.tilt) * dx + np.sin(at.tilt) * dy
        v = -np.sin(at.tilt) * dx + np.cos(at.tilt) * dy
        cover = np.clip(0.5 - signed_distance(words.shape, u, v) * at.radius * pixels, 0.0, 1.0)
        canvas = canvas * (1.0 - cover[..., None]) + cover[..., None] * rgb
        masks.append(cover > 0.5)
    image = np.clip(np.round(canvas), 0, 255).astype(np.uint8)
    return Scene(image, np.stack(masks), attributes, tuple(at for at, _ in placed))


def signed_distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance to the outline of a unit shape, negative inside; ``v`` points down."""
    if shape == "circle":
        return np.hypot(u, v) - 0.92
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.74) - 0.26
    return _polygon_distance(_POLYGONS[shape], u, v)


def _star_corners() -> np.ndarray:
    angles = np.pi * np.arange(10) / 5
    radii = np.where(np.arange(10) % 2 == 0, 1.2, 0.5)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


_POLYGONS = {
    "square": np.array([(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)]),
    "triangle": np.array([(0.0, -1.05), (1.08, 0.8), (-1.08, 0.8)]),
    "star": _star_corners(),
    "cross": np.array(
        [(-0.34, -1.0), (0.34, -1.0), (0.34, -0.34), (1.0, -0.34), (1.0, 0.34), (0.34, 0.34)]
        + [(0.34, 1.0), (-0.34, 1.0), (-0.34, 0.34), (-1.0, 0.34), (-1.0, -0.34), (-0.34, -0.34)]
    ),
}


def _polygon_distance(corners: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    nearest = np.full(u.shape, np.inf)
    inside = np.zeros(u.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey, pu, pv = bx - ax, by - ay, u - ax, v - ay
        along = np.clip((pu * ex + pv * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(pu - along * ex, pv - along * ey))
        if ay != by:  # even-odd rule: count the edges that a ray to the right crosses
            crosses = (ay > v) != (by > v)
            inside ^= crosses & (u < ax + (v - ay) * ex / ey)
    return np.where(inside, -nearest, nearest)


def _draw_attributes(rng: np.random.Generator, n_objects: int) -> Attributes:
    colours = rng.permutation(list(COLOURS))
    places = list(rng.permutation(list(PLACES)))
    if n_objects == 2:
        places = list(rng.permutation(["left", "right"] if rng.integers(2) else ["top", "bottom"]))
    objects = tuple(
        ObjectWords(
            # Two large objects would overlap in the middle of the scene.
            size=str(rng.choice(SIZES)) if n_objects == 1 else "small",
            colour=str(colours[1 + number]),
            shape=str(rng.choice(SHAPES)),
            place=str(places[number]),
        )
        for number in range(n_objects)
    )
    return Attributes(objects, background=str(colours[0]), texture=str(rng.choice(TEXTURES)))


def _place_object(words: ObjectWords, rng: np.random.Generator) -> tuple[Placement, np.ndarray]:
    x, y = np.asarray(_CENTRES[words.place]) + rng.uniform(-0.03, 0.03, size=2)
    radius = rng.uniform(*_RADII[words.size])
    return Placement((x, y), radius, rng.uniform(-0.15, 0.15)), _tint(words.colour, rng)


def _tint(colour: str, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.asarray(COLOURS[colour]) + rng.uniform(-9.0, 9.0, size=3), 0.0, 255.0)


def _texture(name, x, y, phase, period, diagonal, pixels) -> np.ndarray:
    """Share of the texture's dark part in each pixel, 0 to 1."""
    if name == "plain":
        return np.zeros_like(x)
    sharpness = 0.5 * np.pi * period * pixels / 2  # edges about two pixels wide
    across = np.sin(
        2 * np.pi * ((x + y if diagonal else x) / period / (2**0.5 if diagonal else 1) + phase[0])
    )
    if name == "striped":
        return _soft_step(across * sharpness)
    wave_x = np.sin(np.pi * (x / period + phase[0]))
    wave_y = np.sin(np.pi * (y / period + phase[1]))
    if name == "chequered":
        return _soft_step(wave_x * wave_y * sharpness * 2)
    return _soft_step((wave_x**2 * wave_y**2 - 0.42) * sharpness * 2)


def _soft_step(value: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + value, 0.0, 1.0)
