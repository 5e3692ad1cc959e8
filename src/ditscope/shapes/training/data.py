"""Scenes as tensors, rendered once and kept as bytes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from tqdm.auto import tqdm

from ditscope.shapes.oracle import attribute_labels
from ditscope.shapes.scenes import PIXELS, make_scene

_CHUNK = 500


class SceneSet:
    """Scenes of one seed, by turns of each number of objects.

    Attributes:
        images: uint8 ``[scene, rgb, y, x]``.
        captions: one sentence a scene.
        labels: int64 ``[scene, question]``, indices into :data:`ditscope.shapes.oracle.QUESTIONS`.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        pixels: int = PIXELS,
        n_objects: Sequence[int] = (1, 2),
        workers: int = 1,
    ) -> None:
        """Draw ``count`` scenes, in ``workers`` processes."""
        self.images = torch.empty(count, 3, pixels, pixels, dtype=torch.uint8)
        self.captions: list[str] = []
        labels: list[list[int]] = []
        chunks = [
            (range(start, min(start + _CHUNK, count)), seed, pixels, tuple(n_objects))
            for start in range(0, count, _CHUNK)
        ]
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            drawn = map(_draw, chunks) if workers == 1 else pool.map(_draw, chunks)
            for (rows, *_), (images, captions, answers) in zip(
                chunks, tqdm(drawn, f"scenes {pixels}px", len(chunks), disable=None), strict=True
            ):
                self.images[rows.start : rows.stop] = torch.from_numpy(images)
                self.captions += captions
                labels += answers
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.captions)


def _draw(chunk: tuple[range, int, int, tuple[int, ...]]) -> tuple[np.ndarray, list[str], list[list[int]]]:
    rows, seed, pixels, n_objects = chunk
    scenes = [
        make_scene(seed, index, n_objects=n_objects[index % len(n_objects)], pixels=pixels) for index in rows
    ]
    return (
        np.stack([np.moveaxis(scene.image, -1, 0) for scene in scenes]),
        [scene.caption for scene in scenes],
        [attribute_labels(scene.attributes) for scene in scenes],
    )


def to_model(images: torch.Tensor) -> torch.Tensor:
    """uint8 0 to 255 into float32 -1 to 1."""
    return images.float() / 127.5 - 1.0


def step_generator(seed: int, step: int, device: str = "cpu") -> torch.Generator:
    """Randomness of one training step, from its number alone, so that a resumed run is the same run."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)
