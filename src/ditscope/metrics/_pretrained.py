"""What metrics by a pretrained model share: finding it by name, and images in the form that it takes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ditscope import checks
from ditscope.errors import DitscopeError, InputError, UnsupportedError
from ditscope.metrics._images import as_unit, stacked
from ditscope.paths import folder_or_hub_id

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def opened(what: str, needed: str, name: str | os.PathLike[str], load: Callable[[str], T]) -> T:
    """What ``load`` makes of a folder or a hub id.

    Args:
        what: such as ``CLIP``.
        needed: what has to be there.
        name: a folder or a hub id.
        load: function of the absolute folder, or of the id.

    Raises:
        InputError: it is not there, or something else is.
    """
    from ditscope._quiet import quiet_unless_terminal

    source = folder_or_hub_id(name)
    try:
        with quiet_unless_terminal():
            return load(source)
    except DitscopeError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"no {what} at {str(name)!r} ({(str(error).splitlines() or [type(error).__name__])[0]})",
            f"a folder or hub id with {needed}",
            "Check the name and the connection.",
        ) from error


def weights(source: str) -> dict[str, torch.Tensor]:
    """Tensors by name of a folder's, or a hub id's, ``model.safetensors``."""
    from safetensors.torch import load_file
    from transformers.utils import cached_file

    return load_file(str(cached_file(source, "model.safetensors")))


class Pixels:
    """Images as a vision model takes them: resized by their shortest edge, the centre cut out, scaled by colour.

    Args:
        size: edge that the model takes, in pixels.
        mean: per colour, subtracted from values of 0 to 1.
        std: per colour.
        edge: what the shortest edge is resized to before the centre is cut out; None for ``size``.
    """

    def __init__(
        self, size: int, mean: Sequence[float], std: Sequence[float], edge: int | None = None
    ) -> None:
        self.size, self.edge = size, edge or size
        self.mean, self.std = (np.asarray(values, dtype=np.float32) for values in (mean, std))

    @classmethod
    def of(cls, source: str, size: int, mean: Sequence[float], std: Sequence[float]) -> Pixels:
        """What ``preprocessor_config.json`` beside the weights says; what it does not say is as given.

        Raises:
            UnsupportedError: it wants images that are not square.
        """
        from transformers.utils import cached_file

        config = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
        settings: dict[str, Any] = {} if config is None else json.loads(Path(config).read_text())
        edge = _edge(settings.get("size"))
        cut = _edge(settings.get("crop_size")) or edge or size
        return cls(cut, settings.get("image_mean") or mean, settings.get("image_std") or std, edge)

    def batches(self, images: Any, batch_size: int) -> Iterator[torch.Tensor]:
        """Float32 ``[image, rgb, y, x]``, so many at a time, of ``[image, y, x, rgb]``, uint8 or floats from 0 to 1."""
        import torch

        images = stacked(images)
        as_unit(images)  # refuses, before the first batch, what is no image
        for start in range(0, len(images), checks.whole_number("batch_size", batch_size)):
            scaled = (self._resized(images[start : start + batch_size]) - self.mean) / self.std
            yield torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))

    def _resized(self, images: np.ndarray) -> np.ndarray:
        rows, columns = images.shape[1:3]
        if rows == columns == self.size == self.edge:
            return as_unit(images).astype(np.float32)
        from PIL import Image

        bytes_ = images if images.dtype == np.uint8 else np.round(as_unit(images) * 255).astype(np.uint8)
        scale = self.edge / min(rows, columns)
        height, width = (max(self.edge, int(edge * scale)) for edge in (rows, columns))
        top, left = (height - self.size) // 2, (width - self.size) // 2
        resized = [
            np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC))
            for one in bytes_
        ]
        cut = np.stack(resized)[:, top : top + self.size, left : left + self.size]
        return (cut / 255.0).astype(np.float32)


def _edge(size: Any) -> int | None:
    if isinstance(size, dict):
        height = size.get("shortest_edge", size.get("height"))
        size = height if size.get("width", height) == height else size
    if size is not None and not checks.is_whole(size):
        raise UnsupportedError(
            f"image size {size!r}", "one edge in pixels", "Give the model opened, not by name."
        )
    return size
