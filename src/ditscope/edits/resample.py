"""Put another sample's values in place of a sample's own."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.edits.edit import Where
from ditscope.edits.patch import Patch, patch
from ditscope.edits.recorded_source import RecordedSource
from ditscope.errors import InputError

__all__ = ["resample"]


def resample(
    channels: Any, source: Any, *, shift: int = 1, seed: int | None = None, **where: Unpack[Where]
) -> Patch:
    """Resample ablation: each sample gets the values that another one of the source had at the same place.

    What is particular to a sample is gone, and what takes its place is as it is in runs that nobody edited; so it is
    a control unless ``control=False`` says otherwise. The run's samples are the source's, by prompt and seed.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all.
        source: a cache or a capture of the samples without edits, of at least two samples.
        shift: each takes the sample that is so many places further on, counted around.
        seed: of a random order instead, in which each takes the next one; so none takes its own.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: fewer than two samples, or a shift that comes to none; or as of :func:`~ditscope.edits.patch.patch`.

    Examples:
        >>> of_another = ds.edits.resample(massive, cache, blocks="single.1")
        >>> of_another.control
        True
    """
    recorded = RecordedSource.of(source).recorded
    samples = np.array(recorded.committed)
    checks.whole_number("shift", shift, least=-(2**31))
    if len(samples) < 2 or shift % len(samples) == 0:
        raise InputError(
            f"shift={shift} among {len(samples)} source samples",
            "another sample for each",
            "Record more samples.",
        )
    order = samples if seed is None else np.random.default_rng(seed).permutation(samples)
    taken = dict(zip(order.tolist(), np.roll(order, -shift).tolist(), strict=True))
    specs = [recorded.specs[sample] for sample in samples]
    labels = {name: ("sample", [getattr(spec, name) for spec in specs]) for name in ("prompt", "seed")}
    chosen = xr.DataArray([taken[sample] for sample in samples.tolist()], dims="sample", coords=labels)
    where.setdefault("control", True)
    return patch(source, channels, sample=chosen, **where)
