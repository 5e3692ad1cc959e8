"""Scenes as tensors, rendered once and kept as bytes."""

from __future__ import annotations

import numpy as np
import torch
from tqdm.auto import tqdm

from ditscope.shapes.oracle import attribute_labels
from ditscope.shapes.scenes import PIXELS, make_scene


class SceneSet:
    """One-object scenes of one seed.

    Attributes:
        images: uint8 ``[scene, rgb, y, x]``.
        captions: one sentence a scene.
        labels: int64 ``[scene, attribute]``, indices into :data:`ditscope.shapes.oracle.ATTRIBUTE_VALUES`.
    """

    def __init__(self, count: int, seed: int, *, pixels: int = PIXELS) -> None:
        self.images = torch.empty(count, 3, pixels, pixels, dtype=torch.uint8)
        self.captions: list[str] = []
        labels = []
        for index in tqdm(range(count), desc=f"scenes {pixels}px", disable=None):
            scene = make_scene(seed, index, pixels=pixels)
            self.images[index] = torch.from_numpy(np.moveaxis(scene.image, -1, 0).copy())
            self.captions.append(scene.caption)
            labels.append(attribute_labels(scene.attributes))
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.captions)


def to_model(images: torch.Tensor) -> torch.Tensor:
    """uint8 0 to 255 into float32 -1 to 1."""
    return images.float() / 127.5 - 1.0


def step_generator(seed: int, step: int) -> torch.Generator:
    """Randomness of one training step, from its number alone, so that a resumed run is the same run."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
