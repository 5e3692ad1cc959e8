"""What is read at one visit of a run: one object with one address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Address:
    """Where in a run a value was read, in labels.

    Attributes:
        stream: ``image`` or ``text``.
        site: name of the site.
        step: index into the scheduler's timesteps.
        branch: ``cond`` or ``uncond``.
        block: index in the model's execution order; or several, whose values come with one axis more.
    """

    stream: str
    site: str
    step: int
    branch: str
    block: int | tuple[int, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks, of which there may be one."""
        return self.block if isinstance(self.block, tuple) else (self.block,)


@dataclass(frozen=True)
class Reading:
    """What was read at one address, for some samples: arrays as below, or ``[block, row, ...]`` of several blocks.

    Attributes:
        address: where.
        samples: position of the sample that each row is of.
        hidden: hidden states ``[row, token, channel]`` in the store's dtype, perhaps of fewer tokens than the
            store has of a stream without a grid; of modulation, float32 ``[row, channel]``. None if not kept.
        statistics: float32 ``[row, statistic, channel]``: ``mean``, ``mean_abs``, ``std``, ``abs_max`` over the
            finite values of the real tokens, ``nonfinite``, ``count``, the number of those tokens, which all
            channels repeat, and ``saturated``, the number of values at the dtype's limit. None if not kept.
    """

    address: Address
    samples: Sequence[int]
    hidden: Any = None
    statistics: Any = None
