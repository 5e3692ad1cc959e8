"""The oracle: a classifier of scenes of one object or two that never saw a generated image.

It says how many objects a picture has, shape, colour, size and place of each, background and texture, and is
the yardstick for whether a generated picture shows what its caption says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from ditscope.errors import InputError
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Attributes

OBJECT_VALUES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "place": tuple(PLACES),
}
"""The questions about one object, and their possible answers."""

ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = {
    **OBJECT_VALUES,
    "background": tuple(COLOURS),
    "texture": TEXTURES,
}
"""The six questions about a one-object scene, and their possible answers."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    **ATTRIBUTE_VALUES,
    "count": ("one", "two"),
    **{f"second_{name}": values for name, values in OBJECT_VALUES.items()},
}
"""All questions. Of two objects the first is the one at the left or at the top, wherever the caption names it."""

OPEN = -1
"""Label of a question about the second object of a scene that has one."""

_OPPOSITE = (("left", "right"), ("top", "bottom"))


def attribute_labels(attributes: Attributes) -> list[int]:
    """Indices into :data:`QUESTIONS` of a scene's attributes, :data:`OPEN` where there is no second object.

    Raises:
        InputError: the scene has three objects or more, or two that are not on opposite sides.
    """
    by_place = {words.place: words for words in attributes.objects}
    orders = [(place,) for place in PLACES] + [*_OPPOSITE]
    order = next((order for order in orders if by_place.keys() == set(order)), None)
    if order is None or len(attributes.objects) != len(order):
        raise InputError(
            f"{len(attributes.objects)} objects in {attributes.caption!r}",
            "one, or two at the left and the right or at the top and the bottom",
            "The oracle answers about such scenes: leave the others out.",
        )
    first, *second = (by_place[place] for place in order)
    words = {
        "background": attributes.background,
        "texture": attributes.texture,
        "count": "two" if second else "one",
        **vars(first),
        **{f"second_{name}": word for other in second for name, word in vars(other).items()},
    }
    return [values.index(words[name]) if name in words else OPEN for name, values in QUESTIONS.items()]


class Oracle(nn.Module):
    """A small convolutional classifier with one head for each question."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 96)
        stages = []
        for inner, outer in zip(widths, widths[1:], strict=False):
            stages += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
            stages += [nn.Conv2d(outer, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
        self.features = nn.Sequential(*stages, nn.Flatten(), nn.Linear(16 * widths[-1], 192), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(v)) for name, v in QUESTIONS.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits ``[image, answer]`` by question, for images ``[image, rgb, y, x]`` in -1 to 1."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def answers(self, images: np.ndarray) -> np.ndarray:
        """Answers int64 ``[image, question]``, by :data:`QUESTIONS`, for images uint8 ``[image, y, x, rgb]``.

        Raises:
            InputError: the images are not uint8 or not 64x64.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (64, 64, 3):
            raise InputError(
                f"images {images.dtype} {images.shape}",
                "uint8 [image, 64, 64, 3]",
                "Pass the pipeline's images as bytes.",
            )
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        logits = self(pixels)
        return torch.stack([logits[name].argmax(-1) for name in QUESTIONS], dim=1).numpy()


def load_oracle(folder: Path) -> Oracle:
    """The trained oracle, from ``oracle.safetensors`` in ``folder``."""
    model = Oracle()
    model.load_state_dict(load_file(folder / "oracle.safetensors"))
    return model.eval()
