"""Rank channels by a statistic, and take sets from the ranking: the massive ones and their controls."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.errors import InputError
from ditscope.passes.concentration import MAGNITUDE, RATIO, measure_concentration
from ditscope.passes.source import Source
from ditscope.passes.statistics import OVER, channel_statistics, progress


def rank_channels(
    source: Source,
    *,
    statistic: str = "mean_abs",
    stream: str = "image",
    site: str = "block_output",
    over: Iterable[str] = OVER,
) -> Ranking:
    """Score every channel of every block and rank them.

    The default keeps one ranking per block, over all samples, steps, branches and tokens. Keep more
    dimensions for one ranking per sample or step (``over=("branch", "token")``). The statistic is taken
    over tokens first, then averaged; see :mod:`ditscope.passes.statistics`.

    Args:
        source: a cache, its ``hidden()`` array or its ``stats()`` dataset. A cache's recorded statistics
            are used where they exist; tensors are read chunk by chunk otherwise.
        statistic: ``mean_abs``, ``abs_mean``, ``std``, ``abs_max`` or ``energy``.
        stream: ``image`` or ``text``.
        site: where in a block.
        over: dimensions to reduce over.

    Raises:
        InputError: for an unknown statistic, stream, site or dimension.

    Warns:
        UserWarning: if channels hold NaN or infinity; they are excluded, never ranked.
    """
    checks.statistic(statistic)
    over = (over,) if isinstance(over, str) else tuple(over)
    lazy = channel_statistics(source, over=over, stream=stream, site=site)
    with progress("statistics"):
        found = lazy.compute()
    # Ties go to the lower channel id, so the channels must be in order before a stable sort.
    found = found.sortby("channel").transpose(..., "channel")
    excluded = (found["nonfinite"] > 0) | found[statistic].isnull()
    if bool(excluded.any()):
        cells = [str(dim) for dim in excluded.dims if dim != "channel"]
        channels = found["channel"].values[excluded.any(cells).values]
        warnings.warn(
            f"{len(channels)} channels hold NaN or infinity and are excluded from the ranking "
            f"(ids {', '.join(map(str, channels[:8]))}{', ...' if len(channels) > 8 else ''}); "
            "see Ranking.excluded.",
            stacklevel=2,
        )
    return Ranking(found, statistic, stream, site, over, excluded, source)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Channels in order of a statistic, for each block (or other kept dimensions).

    Attributes:
        statistics: every statistic ``[*kept, channel]``, float64.
        statistic: the one that orders the channels.
        stream: ``image`` or ``text``.
        site: where in a block.
        over: the dimensions that were reduced.
        excluded: bool ``[*kept, channel]``: channels with non-finite values, which have no rank.
        source: what was ranked, for passes that need a dimension which this ranking reduced.
    """

    statistics: xr.Dataset = field(repr=False)
    statistic: str
    stream: str
    site: str
    over: tuple[str, ...]
    excluded: xr.DataArray = field(repr=False)
    source: Source = field(repr=False)

    @property
    def scores(self) -> xr.DataArray:
        """The statistic ``[*kept, channel]``; NaN where excluded."""
        return self.statistics[self.statistic].where(~self.excluded).rename("scores")

    @property
    def energy(self) -> xr.DataArray:
        """Mean square over tokens ``[*kept, channel]``; NaN where excluded."""
        return self.statistics["energy"].where(~self.excluded)

    @property
    def kept(self) -> tuple[str, ...]:
        """Dimensions that have a ranking each."""
        return tuple(str(dim) for dim in self.excluded.dims if dim != "channel")

    @property
    def ranked(self) -> int:
        """Channels that have a rank in every kept cell."""
        return int((~self.excluded).sum("channel").min())

    @cached_property
    def order(self) -> xr.DataArray:
        """Channel ids ``[*kept, rank]``, largest score first; -1 in place of excluded channels, last."""
        keys = self.scores.values
        positions = np.argsort(np.where(np.isnan(keys), np.inf, -keys), axis=-1, kind="stable")
        ids = self.excluded["channel"].values[positions]
        ids = np.where(np.take_along_axis(np.isnan(keys), positions, axis=-1), PADDING, ids)
        return self._labelled(ids, "rank")

    def top(self, k: int) -> ChannelSet:
        """The ``k`` channels of largest score, largest first: the massive channels."""
        return self._slice(k, lambda ids: ids[:k], f"top {k}")

    def bottom(self, k: int) -> ChannelSet:
        """The ``k`` channels of smallest score, smallest first. They hold almost no energy."""
        return self._slice(k, lambda ids: ids[::-1][:k], f"bottom {k}")

    def middle(self, k: int) -> ChannelSet:
        """The ``k`` channels around the median score."""
        return self._slice(k, lambda ids: ids[(len(ids) - k) // 2 :][:k], f"middle {k}")

    def window(self, start: int, stop: int) -> ChannelSet:
        """Ranks ``start`` to ``stop - 1``, 0 being the largest score (SPARK's rank-window sweep)."""
        if not 0 <= start < stop <= self.ranked:
            raise InputError(
                f"ranks {start} to {stop}", f"0 <= start < stop <= {self.ranked}", "Pass another window."
            )
        return self._slice(stop - start, lambda ids: ids[start:stop], f"ranks {start} to {stop - 1}")

    def random(self, k: int, draws: int = 1, seed: int = 0, *, shared: bool = True) -> ChannelSet:
        """``k`` channels drawn without replacement, ``draws`` times over.

        Massive channels are much the same in every block. Random ones drawn anew in each block would
        touch many more channels in all, and so do more harm for a reason that is not under test:
        hence ``shared``. A draw depends on the seed and its number (and, if not shared, on the block)
        alone, so more draws or other blocks do not change it.

        Args:
            k: size of each set.
            draws: number of sets; they get a ``draw`` dimension.
            seed: of the draw.
            shared: the same channels in every block; False draws anew in each.
        """
        k = self._check_size(k)
        sets = self._drawn(draws, seed, shared, lambda shuffled, cell: shuffled[:k])
        return ChannelSet(sets, self.stream, f"random {k}")

    def energy_matched(
        self, channels: ChannelSet, draws: int = 1, seed: int = 0, *, shared: bool = True
    ) -> ChannelSet:
        """Random channels outside a set, as many as bring their energy closest to the set's.

        The control for a set that removes much more energy than any set of equal size: channels in
        random order are added while the summed mean square comes closer to the set's. Where all the
        other channels together hold less, all of them are taken; ``energy_ratio`` says what was reached.

        Args:
            channels: the set to match, with one draw.
            draws: number of independent sets.
            seed: of the random order.
            shared: the same random order in every block, as in :meth:`random`.

        Raises:
            InputError: if the set has other dimensions or blocks, or takes every channel.
        """
        if channels.stream != self.stream:
            raise InputError(
                f"a set of the {channels.stream} stream", f"the {self.stream} stream", "Rank that stream."
            )
        energy, labels = self.energy.values, self.excluded["channel"].values
        target = channels.draw(0) if channels.draws == 1 else channels
        ratios: list[float] = []

        def match(shuffled: np.ndarray, cell: dict[str, object]) -> np.ndarray:
            at = tuple(int(np.flatnonzero(self.excluded[dim].values == cell[dim])[0]) for dim in self.kept)
            here = dict(zip(labels.tolist(), energy[at].tolist(), strict=True))
            others = {dim: label for dim, label in cell.items() if dim != "block" and dim in target.kept}
            chosen = (target.sel(**others) if others else target)[cell.get("block")]
            unknown = [int(i) for i in chosen if np.isnan(here.get(int(i), np.nan))]
            outside = shuffled[~np.isin(shuffled, chosen)]
            if unknown or len(outside) == 0:
                raise InputError(
                    f"a set with channel {unknown[0]}" if unknown else "a set of every channel",
                    "ranked channels, with others left over",
                    "Pass a set from this ranking.",
                )
            wanted = sum(here[int(i)] for i in chosen)
            reached = np.cumsum([here[int(i)] for i in outside])
            count = int(np.argmin(abs(reached - wanted))) + 1
            ratios.append(float(reached[count - 1] / wanted) if wanted > 0 else float("nan"))
            return outside[:count]

        sets = self._drawn(draws, seed, shared, match)
        ratio = sets.isel(rank=0, drop=True).copy(data=np.reshape(ratios, sets.shape[:-1]))
        return ChannelSet(sets, self.stream, f"energy-matched to {channels.label}", ratio)

    def concentration(
        self, k: int = 12, *, gini_top: int | None = None, magnitude: float = MAGNITUDE, ratio: float = RATIO
    ) -> xr.Dataset:
        """Gini, energy share of the top k, ratios to the median and Sun et al.'s count, ``[*kept]``."""
        return measure_concentration(
            self.statistics.where(~self.excluded),
            statistic=self.statistic,
            k=k,
            gini_top=gini_top,
            magnitude=magnitude,
            ratio=ratio,
        )

    def _slice(self, k: int, pick: Callable[[np.ndarray], np.ndarray], words: str) -> ChannelSet:
        self._check_size(k)
        order = self.order.values
        rows = [pick(row[row != PADDING]) for row in order.reshape(-1, order.shape[-1])]
        ids = np.reshape(rows, (*order.shape[:-1], k))
        return ChannelSet(self._labelled(ids, "rank"), self.stream, f"{words} by {self.statistic}")

    def _drawn(
        self,
        draws: int,
        seed: int,
        shared: bool,
        pick: Callable[[np.ndarray, dict[str, object]], np.ndarray],
    ) -> xr.DataArray:
        checks.whole_number("draws", draws)
        shape = tuple(self.excluded.sizes[dim] for dim in self.kept)
        order = self.order.values
        rows: list[np.ndarray] = []
        for at in np.ndindex(*shape):
            cell = {dim: self.excluded[dim].values[i] for dim, i in zip(self.kept, at, strict=True)}
            key = [
                int(x) if isinstance(x, (int, np.integer)) else i
                for x, i in zip(cell.values(), at, strict=True)
            ]
            ids = np.sort(order[at][order[at] != PADDING])
            for draw in range(draws):
                random = np.random.default_rng([seed, draw, *(() if shared else key)])
                place = random.permutation(int(self.excluded["channel"].max()) + 1)
                rows.append(pick(ids[np.argsort(place[ids])], cell))
        table = np.full((len(rows), max(map(len, rows))), PADDING)
        for row, ids in zip(table, rows, strict=True):
            row[: len(ids)] = ids
        return self._labelled(table.reshape(*shape, draws, -1), "draw", "rank").assign_coords(
            draw=range(draws)
        )

    def _labelled(self, values: np.ndarray, *dims: str) -> xr.DataArray:
        coords = {name: c for name, c in self.excluded.coords.items() if "channel" not in c.dims}
        return xr.DataArray(values, dims=(*self.kept, *dims), coords=coords)

    def _check_size(self, k: int) -> int:
        return checks.whole_number("k", k, most=self.ranked, of=" (the channels that have a rank)")

    def _summary(self) -> str:
        kept = ", ".join(f"{self.excluded.sizes[dim]} {dim}" for dim in self.kept) or "one ranking"
        lost = int(self.excluded.any(list(self.kept)).sum())
        parts = [f"by {self.statistic}", f"{self.stream} stream, {self.site}", f"kept {kept}"]
        parts.append(f"{self.excluded.sizes['channel']} channels" + (f", {lost} excluded" if lost else ""))
        return "; ".join(parts)

    def _rows(self, most: int) -> list[tuple[str, str]]:
        """Leading channels with their score in medians, for each block (the first of other dimensions)."""
        first = {dim: 0 for dim in self.kept if dim != "block"}
        scores, order = self.scores.isel(first), self.order.isel(first)
        blocks = range(order.sizes["block"]) if "block" in order.dims else [None]
        rows = []
        for block in blocks:
            row, ids = (
                (scores, order) if block is None else (scores.isel(block=block), order.isel(block=block))
            )
            name = (
                "all blocks"
                if block is None
                else f"block {ids.coords.get('block_name', ids['block']).item()}"
            )
            median = float(row.median("channel"))
            lead = [
                f"{c} ({float(row.sel(channel=c)) / median:.1f}x)" for c in ids.values[:5] if c != PADDING
            ]
            rows.append((name, " ".join(lead)))
        return (
            rows if len(rows) <= most else [*rows[: most - 1], ("...", f"{len(rows) - most + 1} more blocks")]
        )

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name}: {lead}" for name, lead in self._rows(8))
        return f"<Ranking {self._summary()}>\n{rows}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(lead)}</td></tr>"
            for name, lead in self._rows(20)
        )
        head = "<tr><th></th><th>leading channels (score in medians)</th></tr>"
        return f"<b>Ranking</b> {html.escape(self._summary())}<table>{head}{rows}</table>"
