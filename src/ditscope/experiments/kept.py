"""What is kept of the runs of a sweep: in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import xarray as xr

from ditscope.experiments.outline import Outline, RunKey
from ditscope.experiments.scoring import Scored

THUMBNAIL = 128
"""Most pixels along an edge of a thumbnail."""

PIXELS = ("y_pixel", "x_pixel", "rgb")


class Kept:
    """What is kept of the runs of a sweep.

    Args:
        outline: what the sweep consists of.

    Attributes:
        outline: the same.
        baselines: by batch, those that there are.
        truncated: by batch, whether each prompt was cut in every text encoder.
        runs: those that there are.
    """

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self.baselines: dict[int, Scored] = {}
        self.truncated: dict[int, Sequence[bool]] = {}
        self.runs: dict[RunKey, Scored] = {}
        self._images: dict[RunKey | int, np.ndarray] = {}

    def missing(self, batch: int) -> list[RunKey]:
        """The runs of a batch that there are not yet."""
        return [key for key in self.outline.runs(batch) if key not in self.runs]

    def add_baseline(
        self, batch: int, scored: Scored, truncated: Sequence[bool], images: np.ndarray | None, digest: str
    ) -> None:
        """Keep a batch's baseline.

        Args:
            batch: its number.
            scored: what its images were judged to be.
            truncated: whether each prompt was cut in every text encoder.
            images: uint8 ``[sample, y, x, rgb]``, if any were made.
            digest: of all that the run made.
        """
        self.baselines[batch], self.truncated[batch] = scored, truncated
        self._keep(batch, images)

    def add(self, key: RunKey, scored: Scored, images: np.ndarray | None) -> None:
        """Keep a run."""
        self.runs[key] = scored
        self._keep(key, images)

    def checked(self) -> None:
        """Note that the model was found to be as it was: all that is kept counts."""

    def drop_unchecked(self) -> None:
        """Drop what was kept since :meth:`checked`, which may be of a model that was changed meanwhile."""

    def images(self) -> dict[str, xr.Variable]:
        """Variables of the images that were made, by name; none where they are dropped."""
        outline, size = self.outline, self.outline.image_size
        if size is None:
            return {}
        by_sample = (len(outline.prompts), *size, 3)
        images = np.zeros((len(outline.draws), len(outline.edits), outline.most_draws, *by_sample), np.uint8)
        baseline = np.zeros(by_sample, np.uint8)
        for key, each in self._images.items():
            if isinstance(key, RunKey):
                images[key[:3]][outline.positions(key.batch)] = each
            else:
                baseline[outline.positions(key)] = each
        images = images.reshape(*outline.shape, *images.shape[1:])
        return {
            "images": xr.Variable((*outline.dims, "edit", "draw", "sample", *PIXELS), images),
            "baseline_images": xr.Variable(("sample", *PIXELS), baseline),
        }

    def _keep(self, key: RunKey | int, images: np.ndarray | None) -> None:
        if self.outline.image_size is not None and images is not None:
            self._images[key] = scaled(images, self.outline.image_size)


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of an image's thumbnail."""
    factor = min(1.0, THUMBNAIL / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled(images: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Images uint8 ``[sample, y, x, rgb]`` at a size (height, width), averaged over areas."""
    height, width = size
    if images.shape[1:3] == (height, width):
        return images
    box = PIL.Image.Resampling.BOX
    return np.stack([np.asarray(PIL.Image.fromarray(each).resize((width, height), box)) for each in images])
