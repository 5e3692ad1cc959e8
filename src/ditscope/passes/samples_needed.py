"""How many samples does a stable set of massive channels need? SPARK's stopping rule, replayed.

SPARK (arXiv 2609.03813, calibration) keeps an exponential moving average of channel scores, takes the
top-k set every few batches, and stops when consecutive sets agree in every block and stream.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.passes.channel_statistics import channel_statistics, progress
from ditscope.passes.ranking import Ranking
from ditscope.passes.source import Source
from ditscope.vocabulary import HIDDEN_DIMS

__all__ = ["samples_needed"]


def samples_needed(
    source: Source | Ranking,
    *,
    k: int = 12,
    statistic: str | None = None,
    streams: Iterable[str] = ("image",),
    site: str = "block_output",
    ema: float = 0.95,
    batch_size: int = 16,
    window: int = 5,
    tau: float = 0.9,
    patience: int = 4,
    orders: int = 1,
    seed: int = 0,
) -> xr.Dataset:
    """Replay SPARK's calibration over recorded samples and say when it would have stopped.

    The moving average starts at the first batch. A snapshot of the top-k sets is taken every
    ``window`` batches; it stops at the first snapshot where, in every block and stream, the mean
    Jaccard index of the last ``patience`` transitions is at least ``tau``. SPARK's own values are the
    defaults; a small study needs smaller batches, or it never takes enough snapshots.

    Args:
        source: a cache, hidden states, statistics, or a Ranking (which brings stream, site, statistic).
        k: size of the sets.
        statistic: None takes the ranking's own, or ``mean_abs``.
        streams: streams that must all agree.
        site: where in a block.
        ema: weight of the past in the moving average, 0 to 1 (1 left out).
        batch_size: samples per batch; an incomplete last batch is left out.
        window: batches between snapshots.
        tau: agreement to reach.
        patience: transitions to average.
        orders: orders of the samples to try: the first as recorded, the others shuffled. The answer
            depends on the order, so more than one tells how much.
        seed: of the shuffles.

    Returns:
        ``jaccard`` ``[order, stream, block, samples]`` of each snapshot with the one before, by the
        number of samples seen; ``needed`` ``[order]`` samples at the stop, NaN where it was not reached. The
        settings are attributes, and so is ``stop``, the first order's, where it was reached. The figure is
        ``plots.stability_curve``.

    Raises:
        InputError: for impossible settings, or too few samples for a single decision.

    Examples:
        >>> ds.passes.samples_needed(ranking, k=6, batch_size=1, window=1, patience=1)["jaccard"].dims
        ('order', 'stream', 'block', 'samples')
    """
    if isinstance(source, Ranking):
        statistic, site, streams = statistic or source.statistic, source.site, (source.stream,)
    statistic = checks.statistic(statistic or "mean_abs")
    streams = checks.streams(streams)
    sizes = {"k": k, "batch_size": batch_size, "window": window, "patience": patience, "orders": orders}
    for what, value in sizes.items():
        checks.whole_number(what, value)
    if not (0 <= ema < 1 and 0 <= tau <= 1):
        raise InputError(
            f"ema={ema}, tau={tau}", "0 <= ema < 1 and 0 <= tau <= 1", "Pass ema=0.95, tau=0.9, say."
        )
    under = source.source if isinstance(source, Ranking) else source
    over = [dim for dim in HIDDEN_DIMS[:-1] if dim not in ("sample", "block")]
    lazy = {name: channel_statistics(under, over=over, stream=name, site=site)[statistic] for name in streams}
    first = next(iter(lazy.values()))
    checks.whole_number("k", k, most=first.sizes["channel"], of=" (the channels there are)")
    least = batch_size * window * (patience + 1)
    if first.sizes.get("sample", 1) < least:
        raise InputError(
            f"{first.sizes.get('sample', 1)} samples",
            f"at least {least} (batch_size {batch_size} x window {window} x (patience {patience} + 1))",
            "Record more samples, or pass a smaller batch_size, window or patience.",
        )
    with progress("scores"):
        scores = xr.concat([lazy[name].compute() for name in streams], dim="stream")
    scores = scores.assign_coords(stream=list(streams))
    if "block" not in scores.dims:
        scores = scores.expand_dims("block")
    scores = scores.transpose("sample", "stream", "block", "channel")
    # Scores are not negative: a channel without finite values is never in a set.
    values = np.nan_to_num(scores.values, nan=-1.0)

    random = np.random.default_rng(seed)
    count = len(values)
    tried = [np.arange(count), *(random.permutation(count) for _ in range(orders - 1))]
    jaccard = np.stack([_replay(values[order], k, ema, batch_size, window) for order in tried])
    samples = (
        (np.arange(jaccard.shape[-1]) + 2) * batch_size * window
    )  # a transition ends at the second snapshot
    needed = [_stop(each, samples, tau, patience) for each in jaccard]
    coords = {name: c for name, c in scores.coords.items() if set(c.dims) <= {"stream", "block"}}
    result = xr.Dataset(
        {"jaccard": (("order", "stream", "block", "samples"), jaccard), "needed": ("order", needed)},
        coords=coords | {"samples": samples},
    )
    stop = {} if np.isnan(needed[0]) else {"stop": int(needed[0])}
    settings = {name: value for name, value in sizes.items() if name != "orders"}
    return result.assign_attrs(
        statistic=statistic, site=site, **settings, ema=ema, tau=tau, seed=seed, **stop
    )


def _replay(values: np.ndarray, k: int, ema: float, batch_size: int, window: int) -> np.ndarray:
    """``values [sample, stream, block, channel]`` -> Jaccard of consecutive sets, the transition last."""
    average = before = None
    rows: list[np.ndarray] = []
    for number in range(len(values) // batch_size):
        mean = values[number * batch_size : (number + 1) * batch_size].mean(0)
        average = mean if average is None else ema * average + (1 - ema) * mean
        if (number + 1) % window:
            continue
        leading = np.argsort(-average, axis=-1, kind="stable")[..., :k]
        member = np.zeros(average.shape, dtype=bool)
        np.put_along_axis(member, leading, True, axis=-1)
        if before is not None:
            rows.append((member & before).sum(-1) / (member | before).sum(-1))
        before = member
    return np.stack(rows, axis=-1)


def _stop(jaccard: np.ndarray, samples: np.ndarray, tau: float, patience: int) -> float:
    for last in range(patience, jaccard.shape[-1] + 1):
        if (jaccard[..., last - patience : last].mean(-1) >= tau).all():
            return float(samples[last - 1])
    return float("nan")
