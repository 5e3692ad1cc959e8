"""What kinds of edits do, by hand, on old values ``[row, token, channel]`` in float32; nothing here uses ditscope."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Samples = Sequence[tuple[str, int]]


def random_of(
    sample: tuple[str, int], place: Sequence[Any] = (), *, seed: int = 0, draw: int = 0, channel: int = 0
) -> np.random.Generator:
    """The random numbers that belong to a sample at a place."""
    digest = hashlib.sha256(json.dumps([seed, draw, *sample, None, *place]).encode()).digest()
    key = int.from_bytes(digest[:16], "little")
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, channel]))


def norm(values: torch.Tensor, dim: int) -> torch.Tensor:
    return values.square().sum(dim=dim, keepdim=True).sqrt()


def noise(
    old: torch.Tensor, samples: Samples, place: Sequence[Any], ids: Sequence[int], seed: int = 0
) -> torch.Tensor:
    """Normal numbers with the norm of each image's channel."""
    made = torch.empty_like(old)
    for row, sample in enumerate(samples):
        for at, channel in enumerate(ids):
            drawn = random_of(sample, place, seed=seed, channel=channel).standard_normal(
                old.shape[1], dtype=np.float32
            )
            made[row, :, at] = torch.tensor(drawn)
    return made * (norm(old, 1) / norm(made, 1))


def shuffled(old: torch.Tensor, samples: Samples, place: Sequence[Any], seed: int = 0) -> torch.Tensor:
    """Each image's tokens in another order."""
    rows = []
    for values, sample in zip(old, samples, strict=True):
        keys = random_of(sample, place, seed=seed).integers(2**63 - 1, size=old.shape[1])
        rows.append(values[torch.tensor(np.argsort(keys, kind="stable"))])
    return torch.stack(rows)


def turned(old: torch.Tensor, direction: torch.Tensor, strength: float) -> torch.Tensor:
    """A direction, as long as each token, is added; then each token has its old length again."""
    new = old + strength * (direction * (norm(old, 2) / norm(direction, 0)))
    return new * (norm(old, 2) / norm(new, 2))


def without(old: torch.Tensor, directions: np.ndarray) -> torch.Tensor:
    """Tokens without their part in the span of directions ``[direction, channel]``."""
    basis = torch.tensor(np.linalg.qr(directions.T.astype(np.float64))[0].T.astype(np.float32))
    return old - 1.0 * (old @ basis.T @ basis)
