"""Where a channel's values vary: over prompts, seeds, steps, tokens, or only where these meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from ditscope import checks
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, check_interval
from ditscope.passes.channel_statistics import channel_statistics
from ditscope.passes.source import Source, hidden_states, whole_chunks
from ditscope.vocabulary import HIDDEN_DIMS

__all__ = ["variance_components"]

LEFTOVER = "leftover"
"""What no factor alone explains: everything in which factors act together, and what is in no factor."""

_WITHIN = ("step", "branch", "token")
_LOADED_BYTES = 64 << 20  # of values at once, or one chunk of samples


def variance_components(
    source: Source,
    *,
    factors: Iterable[str] = ("prompt", "seed", "step", "token"),
    statistic: str | None = None,
    channels: Sequence[int] | None = None,
    cluster: str | None = None,
    stream: str = "image",
    site: str = "block_output",
    level: float = LEVEL,
) -> xr.Dataset:
    """The share of each channel's variance that lies between the levels of each factor, block by block.

    The sum of squares about the grand mean splits into one part for each factor, ``N / levels`` times the sum of
    squared deviations of its level means, and a leftover. In a balanced design, where every two levels of two factors
    meet equally often, the parts are orthogonal and the split is exact; another design is refused. Nested factors, such
    as seeds that differ from prompt to prompt, are none that meet.

    A share is of this design: with no effect at all a factor of L levels in N values has ``(L - 1) / (N - 1)``,
    which is given as ``expected``. Intervals leave one level of ``cluster`` out in turn (the jackknife, with Student's
    t); they say what other prompts could have brought, with all other factors as they are.

    Args:
        source: a cache, hidden states or, with a statistic, statistics.
        factors: dims ``step``, ``branch``, ``token``, or labels of samples: ``prompt``, ``seed``, or any coordinate
            along ``sample`` that you assign, such as the ``pooled`` and ``text`` of :func:`ditscope.crossed_prompts`.
        statistic: decompose this statistic over tokens, which ``token`` can then be no factor of; None decomposes
            the values themselves.
        channels: ids of the channels to decompose; None for all.
        cluster: the label of samples that is left out for intervals; None takes the first factor that labels samples.
        stream: ``image`` or ``text``.
        site: where in a block.
        level: coverage of the intervals.

    Returns:
        ``share``, ``low``, ``high`` ``[component, block, channel]``, where ``component`` is each factor and
        ``leftover``, and shares add up to 1; ``expected`` ``[component]``; ``mean`` and ``variance`` (population)
        ``[block, channel]``. NaN where a channel is constant or has values that are not finite. Values are read
        block by block, samples within blocks; statistics by samples.

    Raises:
        InputError: a factor that is not there or has one level, a design that is not balanced, or padded tokens as
            values.

    Examples:
        >>> shares = ds.passes.variance_components(cache, factors=["prompt", "step"])["share"]
        >>> shares["component"].values.tolist()
        ['prompt', 'step', 'leftover']
    """
    check_interval(level, 1)
    names = tuple(dict.fromkeys(checks.several(factors)))
    values = _values(source, statistic, channels, stream, site)
    labels = _labels(values, names)
    _refuse_unbalanced(labels)
    if cluster is None:
        cluster = next(iter(labels), None)
    elif cluster not in labels:
        raise InputError(
            f"cluster={cluster!r}",
            f"one of the factors {', '.join(labels) or 'of samples'}",
            "Name one of them.",
        )
    codes = labels[cluster] if cluster else np.arange(1).repeat(values.sizes["sample"])
    # Statistics of all blocks are read together, as they are made; values, of which there are many, are not.
    parts = [values] if statistic else [values.isel(block=[at]) for at in range(values.sizes["block"])]
    blocks = [_block(part, list(names), labels, codes, level) for part in parts]
    coords = {
        name: c.compute()
        for name, c in values.coords.items()
        if c.dims and set(c.dims) <= {"block", "channel"}
    }
    count = int(np.prod([size for dim, size in values.sizes.items() if dim not in ("block", "channel")]))
    levels = [int(labels[name].max()) + 1 if name in labels else values.sizes[name] for name in names]
    expected = [(each - 1) / (count - 1) for each in levels]
    shape = ("component", "block", "channel")
    split, moments = (np.concatenate(each, axis=-2) for each in zip(*blocks, strict=True))
    return xr.Dataset(
        {
            **{name: (shape, split[at]) for at, name in enumerate(("share", "low", "high"))},
            "expected": ("component", [*expected, 1 - sum(expected)]),
            "mean": (shape[1:], moments[0]),
            "variance": (shape[1:], moments[1]),
        },
        coords={"component": [*names, LEFTOVER], **coords},
        attrs={
            "stream": stream,
            "site": site,
            "level": level,
            "values": count,
            **({"statistic": statistic} if statistic else {}),
            **({"clustered_by": cluster} if cluster else {}),
        },
    )


def _values(
    source: Source, statistic: str | None, channels: Sequence[int] | None, stream: str, site: str
) -> xr.DataArray:
    """What is decomposed ``[block, sample, ..., channel]``, lazily."""
    if statistic is None:
        values = hidden_states(source, stream, site, channels=channels)
        if "token_mask" in values.coords and not bool(values["token_mask"].all()):
            raise InputError(
                "padded tokens",
                "as many real tokens in every sample",
                "Pass statistic=, or the image stream.",
            )
    else:
        values = channel_statistics(source, over=("token",), stream=stream, site=site)[
            checks.statistic(statistic)
        ]
        values = values if channels is None else values.sel(channel=list(channels))
    for dim in ("sample", "block"):
        values = values if dim in values.dims else values.expand_dims(dim)
    return values.transpose("block", "sample", *(dim for dim in _WITHIN if dim in values.dims), "channel")


def _labels(values: xr.DataArray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The factors that label samples, as codes ``[sample]``; the others are dims."""
    along = {
        str(name): c for name, c in values.coords.items() if c.dims == ("sample",) and name not in HIDDEN_DIMS
    }
    known = [*along, *(dim for dim in _WITHIN if dim in values.dims)]
    labels: dict[str, np.ndarray] = {}
    for name in names:
        checks.name_of("factor", name, known)
        if name in along:
            labels[name] = np.unique(along[name].values, return_inverse=True)[1].reshape(-1)
        levels = len(np.unique(labels[name])) if name in labels else values.sizes[name]
        if levels < 2:
            raise InputError(
                f"one {name}", f"at least two to vary over {name}", "Record more, or leave it out."
            )
    if not names:
        raise InputError("no factors", f"some of {', '.join(known)}", "Name one.")
    return labels


def _refuse_unbalanced(labels: dict[str, np.ndarray]) -> None:
    """Every level as often as another, and every two levels of two factors as often together as any others."""
    for name, codes in labels.items():
        if len(set(np.bincount(codes))) > 1:
            raise InputError(
                f"{name}s of {np.bincount(codes).min()} to {np.bincount(codes).max()} samples",
                "a balanced design: as many samples of each",
                "Select samples such that each has as many.",
            )
    for one, other in combinations(labels, 2):
        together = np.zeros((labels[one].max() + 1, labels[other].max() + 1), dtype=int)
        np.add.at(together, (labels[one], labels[other]), 1)
        if together.min() < together.max():
            raise InputError(
                f"{one} and {other} that meet {together.min()} to {together.max()} times",
                "a balanced design: every two as often",
                f"Record each {one} with each {other}, or leave one of them out.",
            )


def _block(
    values: xr.DataArray, names: list[str], labels: dict[str, np.ndarray], codes: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares and bounds ``[3, component, block, channel]``, mean and variance ``[2, block, channel]``."""
    sums = _Sums(values, names, labels, codes)
    shares, mean, variance = sums.shares(None)
    clusters = int(codes.max()) + 1
    bounds = np.full((2, *shares.shape), np.nan)
    if clusters > 2:  # of two, one is left, and has no levels of its own to vary over
        left_out = np.stack([sums.shares(code)[0] for code in range(clusters)])
        spread = (clusters - 1) / clusters * ((left_out - left_out.mean(0)) ** 2).sum(0)
        half = stdtrit(clusters - 1.0, (1 + level) / 2) * np.sqrt(spread)
        bounds = np.clip([shares - half, shares + half], 0, 1)
    return np.concatenate([shares[None], bounds]), np.stack([mean, variance])


class _Sums:
    """Sums of values by cluster, in float64, about a channel's first value, so that an offset costs nothing."""

    def __init__(
        self, values: xr.DataArray, names: list[str], labels: dict[str, np.ndarray], codes: np.ndarray
    ) -> None:
        self._names, self._labels, self._codes = names, labels, codes
        values = values.transpose("sample", ..., "block", "channel")
        within, shape = [str(dim) for dim in values.dims[1:-2]], values.shape[-2:]
        self._each = int(np.prod([values.sizes[dim] for dim in within]))
        self._of_sample, self._squares = (np.zeros((len(codes), *shape)) for _ in range(2))
        self._of_level = {
            name: np.zeros((int(codes.max()) + 1, values.sizes[name], *shape))
            for name in names
            if name not in labels
        }
        axes = tuple(range(1, 1 + len(within)))
        size = values.nbytes // len(codes)
        for part in whole_chunks(values, "sample", _LOADED_BYTES // max(1, size)):
            own = np.asarray(values.isel(sample=part).values, dtype=np.float64)
            if part.start == 0:
                self._offset = own.reshape(-1, *shape)[0].copy()
            with np.errstate(invalid="ignore"):
                own = own - self._offset
                self._of_sample[part], self._squares[part] = own.sum(axes), (own**2).sum(axes)
                for name, total in self._of_level.items():
                    place = 1 + within.index(name)
                    np.add.at(total, codes[part], own.sum(tuple(axis for axis in axes if axis != place)))

    def shares(self, without: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shares ``[component, block, channel]``, mean and variance ``[block, channel]``, without a cluster."""
        kept = np.ones(len(self._codes), bool) if without is None else self._codes != without
        count = kept.sum() * self._each
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._of_sample[kept].sum(0) / count
            total = self._squares[kept].sum(0) - count * mean**2
            parts = []
            for name in self._names:
                if name in self._labels:
                    codes = self._labels[name][kept]
                    levels = np.zeros((codes.max() + 1, *mean.shape))
                    np.add.at(levels, codes, self._of_sample[kept])
                    levels = levels[np.bincount(codes) > 0]
                else:
                    of_cluster = self._of_level[name]
                    levels = of_cluster.sum(0) - (0 if without is None else of_cluster[without])
                size = count / len(levels)
                parts.append(size * ((levels / size - mean) ** 2).sum(0))
            # Rounding leaves a constant channel a little variance, of which shares would be noise.
            varies = total > 1e-12 * self._squares[kept].sum(0)
            shares = np.where(varies, np.stack(parts) / total, np.nan)
            left = np.maximum(1 - shares.sum(0), 0)
            return np.concatenate([shares, left[None]]), mean + self._offset, np.maximum(total, 0) / count
