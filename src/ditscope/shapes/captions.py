"""The words of the shapes world: attributes, captions made from them, and captions read back.

The vocabulary is the ground truth that real checkpoints lack: every word of a caption names
something that can be seen, and nothing that can be seen and matters goes unnamed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ditscope.errors import InputError

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (38, 166, 70),
    "blue": (40, 84, 214),
    "yellow": (246, 208, 44),
    "purple": (144, 56, 190),
    "cyan": (64, 200, 220),
    "white": (242, 242, 242),
    "black": (24, 24, 24),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES: tuple[str, ...] = ("small", "large")
PLACES: dict[str, str] = {
    "left": "at the left",
    "right": "at the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "centre": "in the centre",
}
TEXTURES: tuple[str, ...] = ("plain", "striped", "dotted", "chequered")


@dataclass(frozen=True)
class ObjectWords:
    """What a caption says of one object."""

    size: str
    colour: str
    shape: str
    place: str

    def __str__(self) -> str:
        return f"a {self.size} {self.colour} {self.shape} {PLACES[self.place]}"


@dataclass(frozen=True)
class Attributes:
    """What a caption says of a scene: one or two objects and their background."""

    objects: tuple[ObjectWords, ...]
    background: str
    texture: str

    @property
    def caption(self) -> str:
        """The sentence that names all of these attributes."""
        things = " and ".join(str(words) for words in self.objects)
        return f"{things} on a {self.texture} {self.background} background"


_OBJECT = re.compile(
    rf"an? (?P<size>{'|'.join(SIZES)}) (?P<colour>{'|'.join(COLOURS)}) "
    rf"(?P<shape>{'|'.join(SHAPES)}) (?:at|in) the (?P<place>{'|'.join(PLACES)})"
)
_BACKGROUND = re.compile(
    rf"on an? (?P<texture>{'|'.join(TEXTURES)}) (?P<background>{'|'.join(COLOURS)}) background"
)


def parse_caption(caption: str) -> Attributes:
    """Read a caption of the shapes world back into its attributes.

    Raises:
        InputError: the caption does not name at least one object and its background in the
            words of the shapes world.
    """
    objects = tuple(ObjectWords(**match.groupdict()) for match in _OBJECT.finditer(caption))
    background = _BACKGROUND.search(caption)
    if not objects or background is None:
        raise InputError(
            f"the caption {caption!r}",
            "one of the shapes world, such as 'a small red circle at the left on a striped blue background'",
            "Build captions with ditscope.shapes.Attributes, or take them from ditscope.shapes.make_scene.",
        )
    return Attributes(objects, background["background"], background["texture"])


def words() -> tuple[str, ...]:
    """Every word that a caption may have, sorted: the tokenizers' vocabulary."""
    fixed = ["a", "and", "at", "in", "the", "on", "background"]
    return tuple(sorted({*fixed, *COLOURS, *SHAPES, *SIZES, *PLACES, *TEXTURES}))
