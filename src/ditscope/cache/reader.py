"""Opening a store: lazy labelled arrays, and a summary of what is in it.

Labels come from the manifest and the ledger, values from files whose checksums the ledger has, and nothing else is
read: no pickle, no code, no path that the store names. Whatever is not as they say is refused before it is used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import xarray as xr

from ditscope import checks
from ditscope._display import html_table, text_table
from ditscope.cache import bfloat16, display, sample_ledger
from ditscope.cache.chunk_reading import ChunkSource
from ditscope.cache.labels import site_labels
from ditscope.cache.layout import statistics_path, values_path
from ditscope.cache.lazy_array import StoredArray
from ditscope.cache.recorded import Recorded, position, statistics_of_one
from ditscope.cache.reduced_array import Reduce, ReducedArray
from ditscope.cache.samples import SampleSpec
from ditscope.cache.store_opening import Store, open_store
from ditscope.errors import CacheError, InputError
from ditscope.paths import local_path
from ditscope.vocabulary import STATISTIC_ARRAYS


def open_cache(path: str | os.PathLike[str], *, check_files: bool = False) -> Cache:
    """Open a cache for reading. Lazy: values are read when computed, and compared with their checksums then.

    Args:
        path: the store.
        check_files: see at once that every file of every committed sample is there with its size (one ``stat``
            a file); else what is missing is found when it is read.

    Raises:
        CacheError: nothing there, not a cache, of another version, altered, or cut short.

    Warns:
        UserWarning: lines of the ledger are damaged; the samples that they commit count as not recorded.

    Examples:
        >>> cache = ds.open_cache("shapes.zarr")
        >>> cache.hidden().sel(step=2, branch="cond", block=9).isel(sample=0).dims
        ('token', 'channel')
    """
    return Cache(open_store(local_path(path)), check_files=check_files)


_MOST_KEPT = 16
"""Lazy arrays that a cache keeps for who asks for the same again: a graph and labels, and no values."""


class Cache(Recorded):
    """One recorded store. Made by :func:`open_cache`.

    Attributes:
        path: the store.
        manifest: what was recorded, from which model, with which call and libraries.
        schema: the axes of every sample.
        plans: every array of the store, by path.
        specs: what every sample is of, committed or not, by position.
        ledger: what the ledger says of every committed sample.
        whole_ledger: all that it says.
        call_tensors: small tensors that calls were passed, by the digest that the manifest has in their place.
        damaged_lines: what is wrong with lines of the ledger that cannot be used.
        committed: positions of the committed samples.

    Examples:
        >>> cache.complete, cache.images.dims
        (True, ('sample', 'y_pixel', 'x_pixel', 'rgb'))
        >>> cache.samples.loc[0, "seed"].item()
        0
    """

    def __init__(self, store: Store, *, check_files: bool = False) -> None:
        bfloat16.register()
        self.path, self.manifest, self.schema, self.plans = (
            store.path,
            store.manifest,
            store.schema,
            store.plans,
        )
        ledger = self.whole_ledger = store.ledger()
        self.specs: tuple[SampleSpec, ...] = tuple(ledger.samples)
        self.ledger = ledger.entries
        self.call_tensors = ledger.tensors
        self.damaged_lines: tuple[str, ...] = tuple(ledger.damaged)
        if self.damaged_lines:
            warnings.warn(
                f"The ledger of {self.path} is damaged: {'; '.join(self.damaged_lines[:3])}. What it says there is "
                "not known, and the rest is read; ds.repair(model, path) writes the ledger without it, and what is "
                "missing can be recorded again.",
                stacklevel=3,
            )
        if check_files:
            for entry in self.ledger.values():
                sample_ledger.check_files(self.path, self.plans, entry)

    def stats(
        self, stream: str = "image", site: str = "block_output", *, committed_only: bool = True
    ) -> xr.Dataset:
        """Per-channel statistics of a site, reduced over tokens while recording; modulation is its own mean.

        Args:
            stream: recorded stream.
            site: recorded site.
            committed_only: leave out samples that are not committed; else they are there, as NaN.

        Returns:
            Lazy ``[sample, step, branch, block, channel]``: float32 ``mean``, ``mean_abs``, ``std``
            (population) and ``abs_max`` over the finite values, NaN where there are none, int32 ``nonfinite``
            counts; and int32 ``count`` of tokens ``[sample, step, branch, block]``.

        Raises:
            InputError: the stream or site was not recorded.
            CacheError: the cache was recorded without statistics.

        Examples:
            >>> cache.stats()["mean_abs"].dims
            ('sample', 'step', 'branch', 'block', 'channel')
        """
        own = self.schema.site(stream, site)
        if not own.has_tokens:
            return statistics_of_one(self.hidden(stream, site, committed_only=committed_only))
        if not self.schema.stats:
            raise CacheError("a cache without statistics", "statistics", "Record with stats=True.")
        samples = self.chosen_samples(committed_only)
        labels = self.labels_of(samples) | site_labels(self.schema, own)
        attributes = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        arrays = {name: self._statistic(stream, site, name, samples) for name in STATISTIC_ARRAYS}
        return xr.Dataset(arrays, coords=labels, attrs=attributes)

    def statistic_at(
        self, stream: str, site: str, name: str, *, samples: Sequence[int], step: int, branch: str, block: int
    ) -> np.ndarray[Any, Any]:
        """A recorded statistic at one address, and nothing else is read for it.

        Args:
            stream: recorded stream.
            site: recorded site, with tokens.
            name: ``mean``, ``mean_abs``, ``std``, ``abs_max``, or ``nonfinite``.
            samples: positions of recorded samples.
            step: index into the scheduler's timesteps.
            branch: ``cond`` or ``uncond``.
            block: index in the model's execution order.

        Returns:
            float32 ``[sample, channel]``.

        Raises:
            InputError: the address or the statistic was not recorded.
            CacheError: what is read is not what was recorded.
        """
        at = self.positions_at(self.schema.site(stream, site), step, branch, block)
        which = position("statistic", name, self.schema.statistics)
        return self._at(statistics_path(stream, site), samples, (*at, which), None)

    @property
    def config(self) -> Mapping[str, Any]:
        """By which model, in which state, and by which call the numbers were made."""
        return self.manifest["config"]

    @property
    def nonfinite(self) -> pd.DataFrame:
        """NaN and infinite values by committed sample, stream and site; empty when there are none."""
        rows = [
            (sample, *name.split("/"), count)
            for sample, entry in sorted(self.ledger.items())
            for name, count in sorted(entry.nonfinite.items())
            if count
        ]
        return pd.DataFrame(rows, columns=["sample", "stream", "site", "count"])

    @property
    def saturated(self) -> pd.DataFrame:
        """Values at the limit of the hidden states' dtype by committed sample, stream, site, block and channel.

        Such a value was clipped, or as good as: it says only how large it was at least. Over all steps and branches;
        the array of statistics has them by step and branch.
        """
        rows = [
            (sample, *name.split("/"), block, channel, count)
            for sample, entry in sorted(self.ledger.items())
            for name, blocks in sorted(entry.saturated.items())
            for block, channels in sorted(blocks.items())
            for channel, count in sorted(channels.items())
        ]
        return pd.DataFrame(rows, columns=["sample", "stream", "site", "block", "channel", "count"])

    @property
    def nbytes(self) -> int:
        """Bytes on disk of the committed samples."""
        return sum(
            sum(own.file_sizes(self.plans[path]))
            for entry in self.ledger.values()
            for path, own in entry.files.items()
        )

    @property
    def complete(self) -> bool:
        """Whether every sample is committed."""
        return len(self.ledger) == len(self.specs)

    def view(self, **state: Any) -> Any:
        """Look at the recording in a notebook: sliders, maps of channels, rankings, masks.

        Args:
            **state: where to begin, such as ``step=7, block=9``; see :func:`ditscope.explorer.view`.

        Returns:
            A widget; show it by leaving it as the last line of a cell. ``ditscope view PATH`` shows the same in a
            browser, without a notebook.

        Raises:
            UnsupportedError: anywidget is not installed.

        Examples:
            >>> widget = cache.view(step=5, block=9)
        """
        from ditscope.explorer.widget import view

        return view(self, **state)

    def reduced_over_tokens(
        self, reduce: Reduce, rows: int, stream: str = "image", site: str = "block_output"
    ) -> dask.array.Array:
        """What a function makes of the hidden states of a site, of committed samples, while they are read.

        Of the same values as :meth:`hidden` has. Where files are not compressed and hold whole chunks of channels,
        it is made of some channels at a time as they are read, and no block is put together. Padding of texts is NaN.

        Args:
            reduce: makes ``[..., row, channel]`` of ``[..., token, channel]`` in the stored dtype, each channel by
                itself; called from several threads, with values that it may not write into or keep.
            rows: how many rows it returns.
            stream: recorded stream.
            site: recorded site with tokens.

        Returns:
            Lazy float64 ``[sample, step, branch, block, row, channel]``.

        Raises:
            InputError: the stream or site was not recorded, or ``reduce`` is no function; and when it is computed, the
                function returns something else.
            CacheError: the cache has statistics only.

        Examples:
            >>> cache.reduced_over_tokens(lambda values: abs(values).max(-2, keepdims=True), rows=1).ndim
            6
        """
        if not callable(reduce):
            raise InputError(f"reduce={reduce!r}", "a function of values [..., token, channel]", "Pass one.")
        checks.whole_number("rows", rows)
        own = self.site_with_values(stream, site)
        if not own.has_tokens:
            raise InputError(f"site {site!r} with one value a channel", "a site with tokens", "Pass another.")
        reduced = ReducedArray(self._stored(values_path(own), self.committed), reduce, rows)
        return reduced.to_dask(self._token(self.committed))

    def report(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write a page of the recording: images, channels, and the explorer on a part of it. Nothing is run.

        Args:
            folder: of the page and its figures; by default beside the recording, named like it with ``-report``.

        Returns:
            The page.

        Raises:
            InputError: ``folder`` is a file.
        """
        from ditscope.report.recording import write_report

        return write_report(self, folder)

    def __repr__(self) -> str:
        return text_table(f"<Cache {self.path}>", display.rows(self))

    def _repr_html_(self) -> str:
        return html_table(f"Cache {self.path}", display.rows(self))

    def _hidden(self, *chosen: Any) -> xr.DataArray:
        # Making the array takes as long as reading a few channels of a block, which is asked for block after block.
        kept, found = self._kept_hidden, self._kept_hidden.get(chosen)
        if found is None:
            found = super()._hidden(*chosen)
            # Threads may have put in some at once.
            for oldest in list(kept)[: max(0, len(kept) + 1 - _MOST_KEPT)]:
                kept.pop(oldest, None)
            kept[chosen] = found
        return found.copy()

    @cached_property
    def _kept_hidden(self) -> dict[tuple[Any, ...], xr.DataArray]:
        return {}

    def source(self, path: str) -> ChunkSource:
        """The files of an array of the store, by its path."""
        stored = {sample: entry.files[path] for sample, entry in self.ledger.items()}
        return ChunkSource(self.path, self.schema, self.plans[path], stored)

    def _stored(
        self,
        path: str,
        samples: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> StoredArray:
        return StoredArray(self.source(path), samples, channels)

    def _at(
        self, path: str, samples: Sequence[int], index: tuple[int, ...], channels: Sequence[int] | None
    ) -> np.ndarray[Any, Any]:
        return self._stored(path, samples, channels)[(slice(None), *index)]

    def _array(
        self,
        path: str,
        samples: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> xr.DataArray:
        return self._lazy(self._stored(path, samples, channels), samples)

    def _lazy(self, stored: StoredArray, samples: Sequence[int]) -> xr.DataArray:
        return xr.DataArray(stored.to_dask(self._token(samples)), dims=stored.dims)

    def _token(self, samples: Sequence[int]) -> str:
        """Equal for two caches of one store, but not once a sample was recorded anew."""
        moments = [entry.committed for entry in map(self.ledger.get, samples) if entry]
        return f"{self.path} {self.manifest['config_hash']} {moments}"

    def _statistic(self, stream: str, site: str, name: str, samples: Sequence[int]) -> xr.DataArray:
        position = self.schema.statistics.index(name)
        source = self.source(statistics_path(stream, site))
        counts = name in ("count", "nonfinite")
        # All channels repeat the number of tokens.
        stored = StoredArray(
            source, samples, [0] if name == "count" else None, statistic=position, count=counts
        )
        array = self._lazy(stored, samples)
        return array.isel(channel=0) if name == "count" else array
