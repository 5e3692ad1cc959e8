"""Opening a store: lazy labelled arrays, and a summary of what is in it.

Labels come from the manifest and the ledger, values from files whose checksums the ledger has, and nothing else is
read: no pickle, no code, no path that the store names. Whatever is not as they say is refused before it is used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope._display import html_table, text_table
from ditscope.cache import bfloat16, display, sample_ledger
from ditscope.cache.chunk_reading import ChunkSource
from ditscope.cache.labels import Labels, sample_labels, site_labels, token_labels, trajectory_labels
from ditscope.cache.layout import statistics_path, values_path
from ditscope.cache.lazy_array import StoredArray
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
    """
    return Cache(open_store(local_path(path)), check_files=check_files)


class Cache:
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
        self.committed: tuple[int, ...] = tuple(sorted(self.ledger))

    def hidden(
        self,
        stream: str = "image",
        site: str = "block_output",
        *,
        channels: Sequence[int] | None = None,
        committed_only: bool = True,
    ) -> xr.DataArray:
        """Hidden states of a site, or its modulation.

        Args:
            stream: recorded stream.
            site: recorded site.
            channels: true ids of the channels to take, in this order; only their chunks are read.
                ``.sel(channel=[...])`` gives the same values, but reads all channels of what it needs.
            committed_only: leave out samples that are not committed; else they are there, as NaN.

        Returns:
            Lazy ``[sample, step, branch, block, token, channel]`` in the stored dtype; of modulation, float32
            ``[sample, step, branch, block, channel]``. Where tokens were drawn at random, ``token_id``, ``y`` and
            ``x`` ``[sample, token]`` say which.

        Raises:
            InputError: the stream, site or a channel was not recorded.
            CacheError: the cache has statistics only.
        """
        own, of_stream = self.schema.site(stream, site), self.schema.stream(stream)
        if own.has_tokens and not self.schema.tensors:
            raise CacheError(
                "a cache of statistics only",
                "hidden states",
                "Use .stats(), or record with tensors=True.",
            )
        samples = self._samples(committed_only)
        labels = self._labels(samples) | site_labels(self.schema, own)
        attributes: dict[str, Any] = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        if own.has_tokens:
            labels |= token_labels(of_stream)
            if of_stream.has_grid:
                attributes |= {"grid_height": of_stream.grid_height, "grid_width": of_stream.grid_width}
            else:
                mask = self._stored(f"{stream}/token_mask", samples)
                labels["token_mask"] = (("sample", "branch", "token"), mask[:])
            if of_stream.random_tokens is not None and of_stream.grid_width is not None:
                drawn = self._stored(f"{stream}/token_id", samples)[:].astype(np.int64)
                y, x = np.divmod(drawn, of_stream.grid_width)
                for name, values in (("token_id", drawn), ("y", y), ("x", x)):
                    labels[name] = (("sample", "token"), values)
        positions = None if channels is None else self._channel_positions(channels)
        if positions is not None:
            labels["channel"] = (("channel",), labels["channel"][1][positions])
        array = self._array(values_path(own), samples, positions)
        return array.rename(site).assign_coords(labels).assign_attrs(attributes)

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
        """
        own = self.schema.site(stream, site)
        if not own.has_tokens:
            return _statistics_of_one(self.hidden(stream, site, committed_only=committed_only))
        if not self.schema.stats:
            raise CacheError("a cache without statistics", "statistics", "Record with stats=True.")
        samples = self._samples(committed_only)
        labels = self._labels(samples) | site_labels(self.schema, own)
        attributes = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        arrays = {name: self._statistic(stream, site, name, samples) for name in STATISTIC_ARRAYS}
        return xr.Dataset(arrays, coords=labels, attrs=attributes)

    @cached_property
    def images(self) -> xr.DataArray:
        """Final images of the committed samples: lazy uint8 ``[sample, y_pixel, x_pixel, rgb]``."""
        if "images" not in self.plans:
            raise CacheError("a cache without images", "images", "Record with the images' size.")
        return (
            self._array("images", self.committed).rename("images").assign_coords(self._labels(self.committed))
        )

    @cached_property
    def trajectory(self) -> xr.Dataset:
        """Latents and transformer outputs of the committed samples, over all steps of the scheduler.

        ``latents`` ``[sample, step_boundary, token, latent_channel]`` float32, where boundary i is the
        state before step i and the last is the result; ``transformer_output``
        ``[sample, step, branch, token, latent_channel]`` in the model's dtype.
        """
        if self.schema.trajectory is None:
            raise CacheError("a cache without trajectory", "a trajectory", "Record with one.")
        arrays = {
            name: self._array(f"trajectory/{name}", self.committed)
            for name in ("latents", "transformer_output")
        }
        return xr.Dataset(arrays, coords=self._labels(self.committed) | trajectory_labels(self.schema))

    @property
    def samples(self) -> pd.DataFrame:
        """Prompt, seed and ``done`` of every sample, committed or not, and the columns that its user gave it.

        ``live`` is the digest of the model's live state that a committed sample was made in, where it is known;
        ``call`` has the arguments that are the sample's own, where there are any.
        """
        entries = [self.ledger.get(position) for position in range(len(self.specs))]
        columns: dict[str, list[Any]] = {
            "prompt": [spec.prompt for spec in self.specs],
            "seed": [spec.seed for spec in self.specs],
            "done": [entry is not None for entry in entries],
            "live": [entry and entry.live for entry in entries],
        }
        if any(spec.call for spec in self.specs):
            columns["call"] = [dict(spec.call) for spec in self.specs]
        for name in dict.fromkeys(name for spec in self.specs for name in spec.columns):
            columns[name] = [spec.columns.get(name) for spec in self.specs]
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.specs), name="sample"))

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
    def truncated(self) -> pd.DataFrame:
        """Tokens of the prompts that text encoders were not given, by committed sample and encoder.

        Columns ``sample``, ``prompt``, ``text_encoder`` and ``cut``, the number of tokens. The coordinate
        ``truncated`` of every array says where a prompt was cut in all of its encoders.
        """
        rows = [
            (sample, entry.spec.prompt, encoder, cut)
            for sample, entry in sorted(self.ledger.items())
            if entry.text is not None
            for encoder, cut in entry.text.cut.items()
            if cut
        ]
        return pd.DataFrame(rows, columns=["sample", "prompt", "text_encoder", "cut"])

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

    def __repr__(self) -> str:
        return text_table(f"<Cache {self.path}>", display.rows(self))

    def _repr_html_(self) -> str:
        return html_table(f"Cache {self.path}", display.rows(self))

    def _samples(self, committed_only: bool) -> tuple[int, ...]:
        return self.committed if committed_only else tuple(range(len(self.specs)))

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

    def _array(
        self,
        path: str,
        samples: Sequence[int],
        channels: Sequence[int] | None = None,
    ) -> xr.DataArray:
        return self._lazy(self._stored(path, samples, channels), samples)

    def _lazy(self, stored: StoredArray, samples: Sequence[int]) -> xr.DataArray:
        # Equal for two caches of one store, but not once a sample was recorded anew.
        moments = [entry.committed for entry in map(self.ledger.get, samples) if entry]
        token = f"{self.path} {self.manifest['config_hash']} {moments}"
        return xr.DataArray(stored.to_dask(token), dims=stored.dims)

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

    def _labels(self, samples: Sequence[int]) -> Labels:
        """Labels of samples, with what the ledger says: ``done``; ``truncated`` and ``encoded_text`` where known."""
        entries = [self.ledger.get(sample) for sample in samples]
        done = np.array([entry is not None for entry in entries], dtype=bool)
        labels = {**sample_labels(self.specs, samples), "done": (("sample",), done)}
        texts = [None if entry is None else entry.text for entry in entries]
        if any(texts):
            cut = np.array([text is not None and text.truncated for text in texts], dtype=bool)
            encoded = np.array(["" if text is None else text.digest for text in texts], dtype=object)
            labels |= {"truncated": (("sample",), cut), "encoded_text": (("sample",), encoded)}
        return labels

    def _channel_positions(self, channels: Sequence[int]) -> list[int]:
        position = {channel: i for i, channel in enumerate(self.schema.channels)}
        wanted = [int(channel) for channel in channels]
        for channel in wanted:
            if channel not in position:
                raise InputError(
                    f"channel {channel}",
                    f"one of the {len(position)} recorded of {self.schema.width}",
                    "Pass recorded channel ids.",
                )
        return [position[channel] for channel in wanted]


def _statistics_of_one(values: xr.DataArray) -> xr.Dataset:
    """What statistics over tokens say of a single value a channel, such as modulation."""
    finite, done = np.isfinite(values), values["done"]
    kept = values.where(finite)
    size = abs(kept)
    count = xr.ones_like(values.isel(channel=0, drop=True), dtype="int32").where(done, 0)
    return xr.Dataset(
        {
            "mean": kept,
            "mean_abs": size,
            "std": xr.zeros_like(kept).where(finite),
            "abs_max": size,
            "nonfinite": (~finite & done).astype("int32"),
            "count": count.astype("int32"),
        },
        attrs=values.attrs,
    )
