"""Random numbers that depend on the sample and the place alone, not on the batch, its order or the device."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext

PER = ("place", "step", "run")
"""What gets random numbers of its own: every step, branch, block, stream and site; every step; or the whole run."""


def seeded(
    context: EditContext, row: int, seed: int, per: str, draw: int = 0, channel: int = 0
) -> np.random.Generator:
    """A generator for one image of the batch at one place.

    numpy's Philox with the key SHA-256 of ``[seed, draw, prompt, the sample's seed, its position, *place]`` as JSON,
    first 16 bytes, little-endian; the position is null where prompt and seed tell the sample. What it draws begins
    alike whatever number is drawn, so that padding does not matter.

    Args:
        context: the place.
        row: the image's row.
        seed: of the edit, from 0.
        per: one of :data:`PER`.
        draw: number of the draw.
        channel: where each channel has numbers of its own, the channel.
    """
    prompt, number = context.samples[row]
    position = context.positions[row] if prompt is None or number is None else None
    place = {
        "run": (),
        "step": (context.visit.step,),
        "place": (
            *(context.visit.step, context.branch, context.block.index),
            *(context.stream, context.site),
        ),
    }[per]
    key = json.dumps([seed, draw, prompt, number, position, *place])
    digest = hashlib.sha256(key.encode()).digest()
    # A channel's numbers are 2**192 blocks away from the next one's.
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(digest[:16], "little"), counter=[0, 0, 0, channel])
    )
