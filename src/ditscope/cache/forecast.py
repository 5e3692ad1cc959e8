"""What a recording will take on disk, told from the layout of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ditscope.cache.layout import KINDS, ArrayPlan, plan_arrays, readable_bytes
from ditscope.cache.schema import Schema


@dataclass(frozen=True, repr=False)
class Forecast:
    """What will be written, in bytes on disk.

    Exact for the arrays of an uncompressed store, an upper bound for practical purposes of a compressed
    one; labels, manifest and ledger come on top and are small.

    Attributes:
        tensors: hidden states.
        stats: statistics.
        modulation: values at sites without tokens.
        masks: token masks.
        trajectory: latents and transformer outputs.
        images: final images.
        shards: number of files.
        samples: number of samples that these figures are for.
        seconds: expected time of the runs; None where it is unknown. Takes no part in comparisons.
        committed: samples beside these that the store has already. Takes no part in comparisons.
    """

    tensors: int
    stats: int
    modulation: int
    masks: int
    trajectory: int
    images: int
    shards: int
    samples: int
    seconds: float | None = field(default=None, compare=False)
    committed: int = field(default=0, compare=False)

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(getattr(self, kind) for kind in KINDS)

    def __str__(self) -> str:
        parts = ((kind, getattr(self, kind)) for kind in KINDS)
        listed = ", ".join(f"{name} {readable_bytes(size)}" for name, size in parts if size)
        left = f" left of {self.samples + self.committed}" if self.committed else ""
        size = (
            f"{readable_bytes(self.total)} in {self.shards} files for {self.samples} samples{left} ({listed})"
        )
        if self.seconds is None:
            return size
        minutes = f"{self.seconds / 60:.0f} minutes"
        return f"{size}, about {minutes if self.seconds >= 120 else f'{self.seconds:.0f} seconds'}"

    __repr__ = __str__


def forecast(schema: Schema, samples: int) -> Forecast:
    """Bytes and files of ``samples`` samples of a new store.

    Examples:
        >>> ds.cache.forecast(cache.schema, samples=1000).samples
        1000
    """
    return forecast_of(plan_arrays(schema), samples)


def forecast_of(plans: Mapping[str, ArrayPlan], samples: int) -> Forecast:
    """Bytes and files of ``samples`` samples of a store with these arrays."""
    sizes = dict.fromkeys(KINDS, 0)
    shards = 0
    for plan in plans.values():
        sizes[plan.kind] += samples * sum(plan.file_bytes)
        shards += samples * plan.shards_per_sample
    return Forecast(**sizes, shards=shards, samples=samples)
