"""Opening a store: lazy labelled arrays, and a summary of what is in it.

Labels come from the manifest, values from TensorStore, and nothing else is read: no pickle, no code, no
path that the store names. Whatever is not as the manifest says is refused before any value is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope._display import html_table, text_table
from ditscope.cache import bfloat16, display, sample_ledger
from ditscope.cache.labels import Labels, sample_labels, stats_labels, token_labels, trajectory_labels
from ditscope.cache.layout import plan_arrays
from ditscope.cache.lazy_array import StoredArray
from ditscope.cache.store_creation import done_plan
from ditscope.cache.store_opening import check_layout, read_manifest
from ditscope.checks import name_of
from ditscope.errors import CacheError, InputError
from ditscope.paths import local_path
from ditscope.vocabulary import STATISTIC_ARRAYS, SiteSpec, site_spec


def open_cache(path: str | os.PathLike[str], *, check_files: bool = True) -> Cache:
    """Open a cache for reading. Lazy: values are read when computed.

    Args:
        path: the store.
        check_files: see that every file of every committed sample is there with its size (one ``stat``
            a file). Without it, files that are missing read as NaN.

    Raises:
        CacheError: nothing there, not a cache, of another version, altered, or cut short.
    """
    return Cache(local_path(path), check_files=check_files)


class Cache:
    """One recorded store. Made by :func:`open_cache`.

    Attributes:
        path: the store.
        manifest: what was recorded, from which model, with which call and libraries.
        schema: the axes of the store.
        plans: every per-sample array of the store, by path.
        ledger: what the ledger says of every committed sample.
        committed: positions of the committed samples.
    """

    def __init__(self, path: Path, *, check_files: bool = True) -> None:
        bfloat16.register()
        self.path = path
        self.manifest, self.schema = read_manifest(path)
        self.plans = plan_arrays(self.schema)
        check_layout(path, {**self.plans, "done": done_plan(self.schema)})
        self.ledger = sample_ledger.read_entries(path, self.plans, len(self.schema.samples))
        if check_files:
            for entry in self.ledger.values():
                sample_ledger.check_files(path, entry)
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
            ``[sample, step, branch, block, channel]``.

        Raises:
            InputError: the stream, site or a channel was not recorded.
            CacheError: the cache has statistics only.
        """
        spec, own = self._site(stream, site), self.schema.stream(stream)
        if spec.has_tokens and not self.schema.tensors:
            raise CacheError(
                "a cache of statistics only",
                "hidden states",
                "Use .stats(), or record with tensors=True.",
            )
        samples = self._samples(committed_only)
        labels = self._with_ledger(stats_labels(self.schema, samples), samples)
        attributes: dict[str, Any] = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        if spec.has_tokens:
            labels |= token_labels(own)
            if own.has_grid:
                attributes |= {"grid_height": own.grid_height, "grid_width": own.grid_width}
            else:
                mask = StoredArray(self.path, self.plans[f"{stream}/token_mask"], samples)
                labels["token_mask"] = (("sample", "branch", "token"), mask[:])
        positions = None if channels is None else self._channel_positions(channels)
        if positions is not None:
            labels["channel"] = (("channel",), labels["channel"][1][positions])
        array = self._array(f"{stream}/{site}", samples, positions)
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
        if not self._site(stream, site).has_tokens:
            return _statistics_of_one(self.hidden(stream, site, committed_only=committed_only))
        if not self.schema.stats:
            raise CacheError("a cache without statistics", "statistics", "Record with stats=True.")
        samples = self._samples(committed_only)
        arrays = {name: self._array(f"{stream}/stats/{site}/{name}", samples) for name in STATISTIC_ARRAYS}
        labels = self._with_ledger(stats_labels(self.schema, samples), samples)
        attributes = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        return xr.Dataset(arrays, coords=labels, attrs=attributes)

    @cached_property
    def images(self) -> xr.DataArray:
        """Final images of the committed samples: lazy uint8 ``[sample, y_pixel, x_pixel, rgb]``."""
        if "images" not in self.plans:
            raise CacheError("a cache without images", "images", "Record with the images' size.")
        labels = self._with_ledger(sample_labels(self.schema, self.committed), self.committed)
        return self._array("images", self.committed).rename("images").assign_coords(labels)

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
        labels = self._with_ledger(trajectory_labels(self.schema, self.committed), self.committed)
        return xr.Dataset(arrays, coords=labels)

    @property
    def samples(self) -> pd.DataFrame:
        """Prompt, seed and ``done`` of every sample, committed or not.

        ``live`` is the digest of the model's live state that a committed sample was made in, where it is known.
        """
        return pd.DataFrame(
            {
                "prompt": [sample.prompt for sample in self.schema.samples],
                "seed": [sample.seed for sample in self.schema.samples],
                "done": [i in self.ledger for i in range(len(self.schema.samples))],
                "live": [
                    entry and entry.live for entry in map(self.ledger.get, range(len(self.schema.samples)))
                ],
            },
            index=pd.RangeIndex(len(self.schema.samples), name="sample"),
        )

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
        samples that were recorded without counting them have no rows.
        """
        rows = [
            (sample, *name.split("/"), block, channel, count)
            for sample, entry in sorted(self.ledger.items())
            for name, blocks in sorted((entry.saturated or {}).items())
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
            (sample, self.schema.samples[sample].prompt, encoder, cut)
            for sample, entry in sorted(self.ledger.items())
            if entry.text is not None
            for encoder, cut in entry.text.cut.items()
            if cut
        ]
        return pd.DataFrame(rows, columns=["sample", "prompt", "text_encoder", "cut"])

    @property
    def nbytes(self) -> int:
        """Bytes on disk of the committed samples."""
        return sum(size for entry in self.ledger.values() for size, _ in entry.files.values())

    @property
    def complete(self) -> bool:
        """Whether every sample is committed."""
        return len(self.ledger) == len(self.schema.samples)

    def __repr__(self) -> str:
        return text_table(f"<Cache {self.path}>", display.rows(self))

    def _repr_html_(self) -> str:
        return html_table(f"Cache {self.path}", display.rows(self))

    def _samples(self, committed_only: bool) -> tuple[int, ...]:
        return self.committed if committed_only else tuple(range(len(self.schema.samples)))

    def _array(
        self, path: str, samples: Sequence[int], channels: Sequence[int] | None = None
    ) -> xr.DataArray:
        plan = self.plans[path]
        stored = StoredArray(self.path, plan, samples, channels)
        token = f"{self.path.resolve()} {self.manifest['config_hash']}"
        return xr.DataArray(stored.to_dask(token), dims=plan.dims)

    def _with_ledger(self, labels: Labels, samples: Sequence[int]) -> Labels:
        """The labels and what the ledger says: ``done``; ``truncated`` and ``encoded_text`` where they are known."""
        entries = [self.ledger.get(sample) for sample in samples]
        done = np.array([entry is not None for entry in entries], dtype=bool)
        labels = {**labels, "done": (("sample",), done)}
        texts = [None if entry is None else entry.text for entry in entries]
        if any(texts):
            cut = np.array([text is not None and text.truncated for text in texts], dtype=bool)
            encoded = np.array(["" if text is None else text.digest for text in texts], dtype=object)
            labels |= {"truncated": (("sample",), cut), "encoded_text": (("sample",), encoded)}
        return labels

    def _site(self, stream: str, site: str) -> SiteSpec:
        self.schema.stream(stream)
        return site_spec(name_of("site", site, self.schema.sites))

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
