"""Which image a pipeline generates for the height and width that a call asks for.

Pipelines whose latents are packed into tokens round a size down to whole tokens; the others refuse one
that is no whole number of them. Some take the nearest size that the checkpoint was trained at from a
table of their own, and resize the image afterwards ("resolution binning").
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
from diffusers.image_processor import PixArtImageProcessor

from ditscope.errors import InputError, UnsupportedError

BINNING = "use_resolution_binning"
"""Call argument by which a pipeline generates at the nearest trained size."""


def is_binned(full_call: Mapping[str, Any]) -> bool:
    """Whether a call generates at a trained size and resizes the image to what was asked.

    Args:
        full_call: the call's arguments with the pipeline's defaults.
    """
    return bool(full_call.get(BINNING))


@dataclass(frozen=True)
class Sizes:
    """The sizes that a pipeline generates at.

    Attributes:
        pipeline: name of its class.
        nominal_cell: pixels of a latent cell that its tables of trained sizes and its checks of a size take for
            granted, whatever its autoencoder; None if it has no such tables.
        step: pixels of which it wants height and width to be multiples beside whole tokens, if it rounds nothing.
        token_pixels: image pixels along one edge of an image token.
        rounds: whether a size is rounded down to whole tokens, and not refused.
        sample_size: edge in latent cells that the transformer was trained at; None if unknown.
        most_tokens: tokens along one edge for which the transformer has positions; None if any.
    """

    pipeline: str
    nominal_cell: int | None
    step: int
    token_pixels: int
    rounds: bool
    sample_size: int | None
    most_tokens: int | None

    def generated(self, height: int, width: int, *, binned: bool) -> tuple[int, int]:
        """(height, width) in pixels that the transformer works at, for what is asked.

        Raises:
            InputError: the pipeline does not accept the size, or has no table for its transformer.
            UnsupportedError: the pipeline's tables are not known.
        """
        if binned:
            height, width = self._nearest_trained(height, width)
        edge = self.token_pixels
        if not self.rounds:
            step = math.lcm(edge, self.nominal_cell or 1, self.step)
            if min(height, width) < 1 or height % step or width % step:
                raise InputError(
                    f"an image of {height} x {width} pixels of {self.pipeline}",
                    f"multiples of {step}",
                    "Change the size.",
                )
        if min(height, width) < edge:
            raise InputError(f"an image of {height} x {width}", f"at least {edge} pixels", "Enlarge it.")
        if self.most_tokens is not None and max(height, width) > edge * self.most_tokens:
            raise InputError(
                f"an image of {height} x {width}",
                f"at most {edge * self.most_tokens} pixels, for which the transformer has positions",
                "Make it smaller.",
            )
        return height // edge * edge, width // edge * edge

    def _nearest_trained(self, height: int, width: int) -> tuple[int, int]:
        cell = self.nominal_cell
        if cell is None:
            raise UnsupportedError(
                f"resolution binning asked of {self.pipeline}",
                "a pipeline that has tables of trained sizes",
                "Leave it out.",
            )
        if min(height, width) < 1:
            raise InputError(f"an image of {height} x {width}", "at least 1 pixel", "Enlarge it.")
        module = importlib.import_module(getattr(diffusers, self.pipeline).__module__)
        tables = {
            int(name.split("_")[2]) // cell: table
            for name, table in vars(module).items()
            if name.startswith("ASPECT_RATIO_") and name.endswith("_BIN")
        }
        if self.sample_size not in tables:
            raise InputError(
                f"resolution binning with a transformer of sample_size {self.sample_size}",
                f"one of {', '.join(map(str, sorted(tables)))}, for which {self.pipeline} has a table of sizes",
                f"Switch it off with {BINNING}=False.",
            )
        return PixArtImageProcessor.classify_height_width_bin(height, width, ratios=tables[self.sample_size])
