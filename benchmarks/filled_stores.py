"""Stores that are filled without a model, at the speed of memory: all that the benchmarks know of a writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ditscope.cache import (
    Address,
    BlockSpec,
    CacheWriter,
    Reading,
    SampleSpec,
    Schema,
    StepSpec,
    StoredSite,
    StreamSpec,
    build_manifest,
)
from ditscope.recording.device_statistics import token_statistics
from ditscope.recording.transfer import copy_values, to_host

STREAM, SITE, BRANCH = "image", "block_output", "cond"


@dataclass(frozen=True)
class Hidden:
    """Hidden states of one site: how many, how large.

    Attributes:
        samples: of which each is committed.
        steps: of each sample.
        blocks: of each step.
        side: of the square grid of tokens.
        width: channels.
        dtype: ``bfloat16``, ``float16`` or ``float32``.
        different: how many different arrays ``[token, channel]`` there are; they come by turns.
    """

    samples: int
    steps: int
    blocks: int
    side: int
    width: int
    dtype: str = "bfloat16"
    different: int = 4

    @property
    def nbytes(self) -> int:
        """Of all hidden states."""
        return self.count * self.arrays()[0].nbytes

    @property
    def count(self) -> int:
        """How many arrays ``[token, channel]``."""
        return self.samples * self.steps * self.blocks

    def arrays(self) -> list[np.ndarray]:
        """The different arrays ``[token, channel]``."""
        return [hidden for hidden, _ in _values(self)]

    def in_order(self) -> list[np.ndarray]:
        """All arrays ``[token, channel]``, in the order in which they are recorded."""
        return [self.arrays()[number % self.different] for number in range(self.count)]

    def schema(self, *, tensors: bool = True, stats: bool = True) -> Schema:
        """Of a store that holds them."""
        return Schema(
            streams=(StreamSpec(STREAM, self.side**2, self.side, self.side),),
            sites=(StoredSite.of(STREAM, SITE, range(self.blocks), self.dtype),),
            blocks=tuple(BlockSpec(i, f"double.{i}", "double") for i in range(self.blocks)),
            steps=tuple(
                StepSpec(i, 1 - i / self.steps, 1000 * (1 - i / self.steps)) for i in range(self.steps)
            ),
            branches=(BRANCH,),
            channels=tuple(range(self.width)),
            width=self.width,
            dtype=self.dtype,
            tensors=tensors,
            stats=stats,
        )


@cache
def _values(hidden: Hidden) -> list[tuple[np.ndarray, np.ndarray]]:
    """The different hidden states ``[token, channel]``, each with its statistics ``[statistic, channel]``."""
    torch.manual_seed(0)
    scale = torch.exp(torch.randn(hidden.width))  # some channels are larger than others in every sample
    found = []
    for _ in range(hidden.different):
        noise = torch.randn(1, hidden.side**2, hidden.width)
        values = (noise * scale).to(getattr(torch, hidden.dtype))
        found.append((to_host(values)[0], to_host(token_statistics(values))[0]))
    return found


@dataclass(frozen=True)
class Filled:
    """What filling a store took.

    Attributes:
        opening: seconds to make it.
        writing: seconds to put and commit everything, and to close it.
        committed: seconds since the beginning of writing at which each sample was committed.
        spent: what of it went where, in seconds; empty where the writer does not say.
    """

    opening: float
    writing: float
    committed: list[float]
    spent: Mapping[str, float]


def fill(
    path: Path,
    hidden: Hidden,
    *,
    tensors: bool = True,
    stats: bool = True,
    after: Callable[[], object] = lambda: None,
) -> Filled:
    """Make a store, put all hidden states into it and commit every sample; ``after`` is called after each."""
    values, schema = _values(hidden), hidden.schema(tensors=tensors, stats=stats)
    committed: list[float] = []
    begin = time.perf_counter()
    samples = [SampleSpec(f"prompt {i}", 0) for i in range(hidden.samples)]
    manifest = build_manifest(schema, {})
    with CacheWriter.create_or_resume(path, schema, manifest, samples, copy=copy_values) as writer:
        opened = time.perf_counter()
        number = 0
        for sample in range(hidden.samples):
            for step, block in product(range(hidden.steps), range(hidden.blocks)):
                states, statistics = values[number % hidden.different]
                address = Address(STREAM, SITE, step, BRANCH, block)
                kept = {"hidden": states[None]} if tensors else {}
                kept |= {"statistics": statistics[None]} if stats else {}
                writer.put(Reading(address, [sample], **kept))
                number += 1
            writer.commit(sample)
            committed.append(time.perf_counter() - opened)
            after()
        spent = spent_in(writer)
    return Filled(opened - begin, time.perf_counter() - opened, committed, spent)


def spent_in(recorder: object) -> Mapping[str, float]:
    """Seconds by what they were spent on, of what keeps count of them in ``spent``; else empty."""
    return dict(getattr(recorder, "spent", {}))
