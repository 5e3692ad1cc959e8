"""The oracle: a classifier of one-object scenes that never saw a generated image.

It answers six questions about a picture (shape, colour, size, place, background, texture) and is
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

ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "place": tuple(PLACES),
    "background": tuple(COLOURS),
    "texture": TEXTURES,
}
"""The six questions about a one-object scene, and their possible answers."""


def attribute_labels(attributes: Attributes) -> list[int]:
    """Indices into :data:`ATTRIBUTE_VALUES` of a one-object scene's attributes.

    Raises:
        InputError: the scene has two objects.
    """
    if len(attributes.objects) != 1:
        raise InputError(
            f"{len(attributes.objects)} objects in {attributes.caption!r}",
            "one",
            "The oracle answers about one-object scenes: leave the others out.",
        )
    words = {
        "background": attributes.background,
        "texture": attributes.texture,
        **vars(attributes.objects[0]),
    }
    return [values.index(words[name]) for name, values in ATTRIBUTE_VALUES.items()]


class Oracle(nn.Module):
    """A small convolutional classifier with one head per attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 96)
        stages = []
        for inner, outer in zip(widths, widths[1:], strict=False):
            stages += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
            stages += [nn.Conv2d(outer, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
        self.features = nn.Sequential(*stages, nn.Flatten(), nn.Linear(16 * widths[-1], 192), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(v)) for name, v in ATTRIBUTE_VALUES.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits ``[image, answer]`` by attribute, for images ``[image, rgb, y, x]`` in -1 to 1."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def answers(self, images: np.ndarray) -> np.ndarray:
        """Answers int64 ``[image, attribute]`` for images uint8 ``[image, y, x, rgb]`` of 64 pixels.

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
        return torch.stack([logits[name].argmax(-1) for name in ATTRIBUTE_VALUES], dim=1).numpy()


def load_oracle(folder: Path) -> Oracle:
    """The trained oracle, from ``oracle.safetensors`` in ``folder``."""
    model = Oracle()
    model.load_state_dict(load_file(folder / "oracle.safetensors"))
    return model.eval()
