"""Hidden states with planted channels, as a cache would give them."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.channels import ChannelSet

DIMS = ("sample", "step", "branch", "block", "token", "channel")


def label(values: np.ndarray, *, seeds: int = 2, stream: str = "image") -> xr.DataArray:
    """Coordinates of the data model on ``values [sample, step, branch, block, token, channel]``."""
    samples, steps, branches, blocks, tokens, channels = values.shape
    coords: dict[str, object] = {
        "sample": np.arange(samples),
        "prompt": ("sample", [f"prompt {i // seeds}" for i in range(samples)]),
        "seed": ("sample", np.arange(samples) % seeds),
        "done": ("sample", np.ones(samples, dtype=bool)),
        "step": np.arange(steps),
        "branch": ["cond", "uncond"][:branches],
        "block": np.arange(blocks),
        "block_name": ("block", [f"double.{i}" for i in range(blocks)]),
        "token": np.arange(tokens),
        "channel": np.arange(channels),
    }
    edge = round(tokens**0.5)
    if stream == "image" and edge * edge == tokens:
        coords |= {"y": ("token", np.arange(tokens) // edge), "x": ("token", np.arange(tokens) % edge)}
    return xr.DataArray(
        values,
        dims=DIMS,
        coords=coords,
        attrs={"stream": stream, "site": "block_output"},
        name="block_output",
    )


@pytest.fixture
def make_hidden() -> Callable[..., xr.DataArray]:
    """Noise whose channels have distinct, random magnitudes; bfloat16 and chunked unless asked otherwise."""

    def make(
        *,
        samples: int = 6,
        steps: int = 3,
        branches: int = 2,
        blocks: int = 4,
        edge: int = 6,
        channels: int = 24,
        dtype: object = ml_dtypes.bfloat16,
        chunks: dict[str, int] | str | None = "default",
        spread: float = 40,
        seed: int = 0,
    ) -> xr.DataArray:
        random = np.random.default_rng(seed)
        values = random.normal(0.3, 1, (samples, steps, branches, blocks, edge * edge, channels))
        values *= random.permutation(np.geomspace(0.5, 0.5 * spread, channels))
        hidden = label(values.astype(dtype))
        if chunks is None:
            return hidden
        return hidden.chunk(
            {"sample": 2, "block": 3, "token": 10, "channel": 7} if chunks == "default" else chunks
        )

    return make


class FakeCache:
    """The part of a cache that passes use."""

    def __init__(self, hidden: xr.DataArray | None = None, stats: xr.Dataset | None = None) -> None:
        self._hidden, self._stats = hidden, stats
        self.channels_asked: list[int] | None = None

    def hidden(self, stream="image", site="block_output", *, channels=None):
        if self._hidden is None:
            raise KeyError("no tensors")
        self.channels_asked = channels
        return self._hidden if channels is None else self._hidden.sel(channel=channels)

    def stats(self, stream="image", site="block_output"):
        if self._stats is None:
            raise KeyError("no statistics")
        return self._stats


@pytest.fixture
def fake_cache() -> type[FakeCache]:
    return FakeCache


@pytest.fixture
def study(make_hidden):
    """An object written into one channel, sets of channels, and the reference masks."""
    hidden = make_hidden(samples=6, blocks=2, edge=8, dtype=np.float32, chunks=None)
    truth = np.random.default_rng(1).random((6, 64)) < 0.3
    values = hidden.values
    values[..., 3] = 0.01 * values[..., 3] + 9 * truth[:, None, None, None]
    hidden = hidden.copy(data=values)
    reference = truth.reshape(6, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
    ranking = passes.rank_channels(hidden)
    sets = {"planted": ChannelSet.of([3]), "random": ranking.random(4, draws=3), "bottom": ranking.bottom(4)}
    return hidden, sets, reference
