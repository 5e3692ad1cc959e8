"""Channels in order of a statistic, and sets of them: the massive ones and their controls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope._display import first_rows, html_table, text_table
from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.errors import InputError
from ditscope.passes.concentration import MAGNITUDE, RATIO, measure_concentration
from ditscope.passes.source import Source, own_dtype
from ditscope.paths import local_path
from ditscope.precision import spacing

__all__ = ["Ranking"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Channels in order of a statistic, for each block (or other kept dimensions).

    Attributes:
        statistics: every statistic ``[*kept, channel]``, float64, with counts ``nonfinite`` and ``saturated``.
        statistic: the one that orders the channels.
        stream: ``image`` or ``text``.
        site: where in a block.
        over: the dimensions that were reduced.
        excluded: bool ``[*kept, channel]``: channels with non-finite values, which have no rank.
        source: what was ranked, for passes that need a dimension which this ranking reduced.

    Examples:
        >>> ranking = ds.passes.rank_channels(cache)
        >>> ranking.top(6).k, ranking.bottom(6).control, ranking.middle(6).control, ranking.window(6, 12).control
        (6, True, True, True)
        >>> ranking.scores.dims
        ('block', 'channel')
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
        """The statistic ``[*kept, channel]``; NaN where excluded. Coordinates ``saturated`` and ``resolution``."""
        scores = self.statistics[self.statistic].where(~self.excluded).rename("scores")
        return scores.assign_coords(saturated=self.saturated, resolution=self.resolution)

    @property
    def saturated(self) -> xr.DataArray:
        """Channels with values at the limit of the dtype they were computed in, bool ``[*kept, channel]``."""
        return (self.statistics["saturated"] > 0).rename("saturated")

    @property
    def resolution(self) -> xr.DataArray:
        """Step from a value as large as the channel's ``mean_abs`` to the next that the recorded dtype has.

        ``[*kept, channel]``: near 3,000 in bfloat16 values are multiples of 16, and a smaller difference is not there.
        NaN where the dtype is not known.
        """
        size, dtype = self.statistics["mean_abs"], own_dtype(self.statistics)
        steps = np.full(size.shape, np.nan) if dtype is None else spacing(size.values, dtype)
        return size.copy(data=steps).rename("resolution")

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
        """Number of channels that have a rank in every kept block (sample, step, ...)."""
        return int((~self.excluded).sum("channel").min())

    @cached_property
    def order(self) -> xr.DataArray:
        """Channel ids ``[*kept, rank]``, largest score first; -1 in place of excluded channels, last."""
        keys = self.scores.values
        positions = np.argsort(np.where(np.isnan(keys), np.inf, -keys), axis=-1, kind="stable")
        ids = self.excluded["channel"].values[positions]
        ids = np.where(np.take_along_axis(np.isnan(keys), positions, axis=-1), PADDING, ids)
        return self._labelled(ids, "rank")

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the ranking to a netCDF file, which xarray opens: every statistic, ``excluded``, and what it is of.

        Raises:
            InputError: the path cannot be used.

        Examples:
            >>> ranking.to_file("ranking.nc")
            >>> ds.passes.Ranking.from_file("ranking.nc").top(6) == ranking.top(6)
            True
        """
        about = {
            "statistic": self.statistic,
            "stream": self.stream,
            "site": self.site,
            "over": list(self.over),
        }
        whole = self.statistics.assign(excluded=self.excluded).assign_attrs(ranking=json.dumps(about))
        whole.compute().to_netcdf(local_path(path), engine="scipy")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Ranking:
        """What :meth:`to_file` wrote. Its ``source`` is its own statistics: what they reduced is not there.

        Raises:
            InputError: the file is no ranking's.
        """
        try:
            whole = xr.load_dataset(local_path(path), engine="scipy")
            about = json.loads(whole.attrs.pop("ranking"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}, which holds no ranking", "a file of to_file", "Pass another file."
            ) from error
        whole = whole.assign(
            {name: each.astype("int64") for name, each in whole.items() if each.dtype.kind == "i"}
        )
        whole = whole.assign_coords(
            {name: each.astype("int64") for name, each in whole.coords.items() if each.dtype.kind == "i"}
        )
        statistics = whole.drop_vars("excluded")
        return cls(
            statistics,
            **{**about, "over": tuple(about["over"])},
            excluded=whole["excluded"],
            source=statistics,
        )

    def top(self, k: int) -> ChannelSet:
        """The ``k`` channels of largest score, largest first: the massive channels."""
        return self._slice(k, lambda ids: ids[:k], f"top {k}", control=False)

    def bottom(self, k: int) -> ChannelSet:
        """The ``k`` channels of smallest score, smallest first. They have almost no energy."""
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

    def random(
        self,
        k: int,
        draws: int = 1,
        seed: int = 0,
        *,
        shared: bool = True,
        without: ChannelSet | None = None,
    ) -> ChannelSet:
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
            without: a set of this ranking's blocks, with one draw, of which none is drawn: the massive channels that
                random ones are held against. Where it differs between blocks, so does what is drawn in its place.

        Raises:
            InputError: fewer channels than ``k``, or as of :meth:`energy_matched`.

        Examples:
            >>> ranking.random(6, draws=3, without=massive).draws
            3
        """
        k = self._check_size(k)

        def pick(shuffled: np.ndarray, labels: dict[str, Any]) -> np.ndarray:
            if without is None:
                return shuffled[:k]
            outside = shuffled[~np.isin(shuffled, self._set_at(without, labels))]
            checks.whole_number("k", k, most=len(outside), of=f" (the channels without {without.label})")
            return outside[:k]

        sets = self._drawn(draws, seed, shared, pick)
        label = f"random {k}" if without is None else f"random {k} without {without.label}"
        return ChannelSet(sets, self.stream, label, control=True)

    def energy_matched(
        self, channels: ChannelSet, draws: int = 1, seed: int = 0, *, shared: bool = True
    ) -> ChannelSet:
        """Random channels outside a set, as many as bring their energy closest to the set's.

        The control for a set that has much more energy than any set of equal size: channels in
        random order are added while the summed mean square comes closer to the set's. Where all the
        other channels together have less, all of them are taken; ``match_ratio`` says what was reached. That is of the
        recording: what an edit then removes may differ, and :func:`ditscope.controls.matched` matches that.

        Args:
            channels: the set to match, with one draw.
            draws: number of independent sets.
            seed: of the random order.
            shared: the same random order in every block, as in :meth:`random`.

        Raises:
            InputError: if the set has other dimensions or blocks, or takes every channel.

        Examples:
            >>> ranking.energy_matched(massive, draws=3).match_ratio.dims
            ('block', 'draw')
        """
        return self._matched("energy", self.energy, channels, draws, seed, shared)

    def magnitude_matched(
        self, channels: ChannelSet, draws: int = 1, seed: int = 0, *, shared: bool = True
    ) -> ChannelSet:
        """Random channels outside a set, as many as bring their summed ``mean_abs`` closest to the set's.

        As :meth:`energy_matched` otherwise.

        Examples:
            >>> ranking.magnitude_matched(massive).match_ratio.dims
            ('block', 'draw')
        """
        magnitude = self.statistics["mean_abs"].where(~self.excluded)
        return self._matched("magnitude", magnitude, channels, draws, seed, shared)

    def _matched(
        self, what: str, amount: xr.DataArray, channels: ChannelSet, draws: int, seed: int, shared: bool
    ) -> ChannelSet:
        amounts, channel_ids = amount.values, self.excluded["channel"].values.tolist()
        ratios: list[float] = []

        def match(shuffled: np.ndarray, labels: dict[str, Any]) -> np.ndarray:
            at = tuple(int(np.flatnonzero(self.excluded[dim].values == labels[dim])[0]) for dim in self.kept)
            here = dict(zip(channel_ids, amounts[at].tolist(), strict=True))
            chosen = self._set_at(channels, labels)
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
        label = f"{what}-matched to {channels.label}"
        return ChannelSet(sets, self.stream, label, ratio, control=True, matched=f"recorded {what}")

    def _set_at(self, channels: ChannelSet, labels: dict[str, Any]) -> np.ndarray:
        """The channels of a set with one draw at a block (sample, step, ...) of this ranking."""
        if channels.stream != self.stream:
            raise InputError(
                f"a set of the {channels.stream} stream", f"the {self.stream} stream", "Rank that stream."
            )
        target = channels.draw(0) if channels.draws == 1 else channels
        others = {dim: label for dim, label in labels.items() if dim != "block" and dim in target.kept}
        return (target.sel(**others) if others else target)[labels.get("block")]

    def concentration(
        self, k: int = 12, *, gini_top: int | None = None, magnitude: float = MAGNITUDE, ratio: float = RATIO
    ) -> xr.Dataset:
        """Gini, energy share of the top k, ratios to the median and Sun et al.'s count, ``[*kept]``.

        Examples:
            >>> ranking.concentration(k=6)["energy_share"].dims
            ('block',)
        """
        return measure_concentration(
            self.statistics.where(~self.excluded),
            statistic=self.statistic,
            k=k,
            gini_top=gini_top,
            magnitude=magnitude,
            ratio=ratio,
        )

    def _slice(
        self, k: int, pick: Callable[[np.ndarray], np.ndarray], words: str, control: bool = True
    ) -> ChannelSet:
        self._check_size(k)
        order = self.order.values
        rows = [pick(row[row != PADDING]) for row in order.reshape(-1, order.shape[-1])]
        ids = np.reshape(rows, (*order.shape[:-1], k))
        label = f"{words} by {self.statistic}"
        return ChannelSet(self._labelled(ids, "rank"), self.stream, label, control=control)

    def _drawn(
        self,
        draws: int,
        seed: int,
        shared: bool,
        pick: Callable[[np.ndarray, dict[str, Any]], np.ndarray],
    ) -> xr.DataArray:
        checks.whole_number("draws", draws)
        shape = tuple(self.excluded.sizes[dim] for dim in self.kept)
        order = self.order.values
        rows: list[np.ndarray] = []
        for at in np.ndindex(*shape):
            labels = {dim: self.excluded[dim].values[i] for dim, i in zip(self.kept, at, strict=True)}
            key = [int(x) if checks.is_whole(x) else i for x, i in zip(labels.values(), at, strict=True)]
            ids = np.sort(order[at][order[at] != PADDING])
            for draw in range(draws):
                random = np.random.default_rng([seed, draw, *(() if shared else key)])
                turn = random.permutation(int(self.excluded["channel"].max()) + 1)
                rows.append(pick(ids[np.argsort(turn[ids])], labels))
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

    def _title(self) -> str:
        kept = ", ".join(f"{self.excluded.sizes[dim]} {dim}" for dim in self.kept) or "one ranking"
        channels = f"{self.excluded.sizes['channel']} channels"
        for marked, word in ((self.excluded, "excluded"), (self.saturated, "saturated (*)")):
            count = int(marked.any(list(self.kept)).sum())
            channels += f", {count} {word}" if count else ""
        return f"Ranking by {self.statistic}: {self.stream} stream, {self.site}; kept {kept}; {channels}"

    def _rows(self, most: int) -> list[tuple[str, str]]:
        """Leading channels with their score in medians, for each block (the first of other dimensions)."""
        first = {dim: 0 for dim in self.kept if dim != "block"}
        scores, order = self.scores.isel(first), self.order.isel(first)
        if "block" not in order.dims:
            scores, order = scores.expand_dims(block=["all"]), order.expand_dims(block=["all"])
        names = order.coords.get("block_name", order["block"]).values
        rows = []
        for name, row, ids in zip(np.atleast_1d(names), scores, order.values, strict=True):
            median = float(row.median("channel"))
            leading = [channel for channel in ids[:5] if channel != PADDING]
            cells = [row.sel(channel=channel) for channel in leading]
            words = [
                f"{int(cell['channel'])}{'*' * bool(cell['saturated'])} "
                f"({float(cell) / median:.1f}x, step {float(cell['resolution']):.2g})"
                for cell in cells
            ]
            rows.append((f"block {name}", " ".join(words)))
        return first_rows(rows, most, "blocks")

    def __repr__(self) -> str:
        return text_table(f"<{self._title()}>", self._rows(8))

    def _repr_html_(self) -> str:
        return html_table(
            self._title(),
            self._rows(20),
            ("", "leading channels (score in medians, step of the dtype there)"),
        )
