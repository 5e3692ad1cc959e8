"""Recorded samples as labelled arrays, wherever their values are: in a store, or in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope import checks
from ditscope.cache.labels import Labels, branch_labels, site_labels, token_labels, trajectory_labels
from ditscope.cache.layout import ArrayPlan, values_path
from ditscope.cache.recorded_labels import (
    of_channels,
    recorded_sample_labels,
    recorded_token_labels,
    token_names,
)
from ditscope.cache.recorded_tables import samples_table, truncated_prompts
from ditscope.cache.sample_ledger import Entry
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import Schema, StoredSite
from ditscope.errors import CacheError, InputError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor


class Recorded(ABC):
    """Samples of one recording.

    Attributes:
        schema: the axes of every sample.
        plans: every array, by path.
        specs: what every sample is of, recorded or not, by position.
        ledger: what is known of every recorded sample, by position.
    """

    schema: Schema
    plans: Mapping[str, ArrayPlan]
    specs: tuple[SampleSpec, ...]
    ledger: Mapping[int, Entry]

    @property
    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """By which model, in which state, and by which call the numbers were made."""

    @abstractmethod
    def stats(self, stream: str = "image", site: str = "block_output") -> xr.Dataset:
        """Per-channel statistics of a site ``[sample, step, branch, block, channel]``."""

    @abstractmethod
    def _stored(self, path: str, samples: Sequence[int], channels: Sequence[int] | None = None) -> Any:
        """An array of some samples, and of channels at these positions, to be indexed like one of numpy."""

    @abstractmethod
    def _at(
        self, path: str, samples: Sequence[int], index: tuple[int, ...], channels: Sequence[int] | None
    ) -> np.ndarray[Any, Any]:
        """What an array has of some samples at an index of its first axes, ``[sample, ...]``."""

    @abstractmethod
    def _array(
        self, path: str, samples: Sequence[int], channels: Sequence[int] | None = None
    ) -> xr.DataArray:
        """The same, labelled by dims alone."""

    @property
    def committed(self) -> tuple[int, ...]:
        """Positions of the recorded samples."""
        return tuple(sorted(self.ledger))

    def hidden(
        self,
        stream: str = "image",
        site: str = "block_output",
        *,
        channels: Sequence[int] | None = None,
        committed_only: bool = True,
        dtype: str | None = None,
    ) -> xr.DataArray:
        """Hidden states of a site, or its modulation.

        Args:
            stream: recorded stream.
            site: recorded site.
            channels: true ids of the channels to take, in this order; only their chunks are read.
                ``.sel(channel=[...])`` gives the same values, but reads all channels of what it needs.
            committed_only: leave out samples that are not committed; else they are there, as NaN.
            dtype: to convert to, chunk by chunk when computed. bfloat16, which numpy, pandas and matplotlib do not
                know, is then ``float32``; the attribute ``dtype`` stays the stored one.

        Returns:
            Lazy ``[sample, step, branch, block, token, channel]`` in the stored dtype, or ``dtype``; of modulation,
            float32 ``[sample, step, branch, block, channel]``. Where tokens were drawn at random, ``token_id``, ``y``
            and ``x`` ``[sample, token]`` say which.

        Raises:
            InputError: the stream, site or a channel was not recorded.
            CacheError: the cache has statistics only.

        Examples:
            >>> hidden = cache.hidden(dtype="float32").sel(step=5, block=9, branch="cond")
            >>> hidden.mean("token").dims
            ('sample', 'channel')
            >>> cache.hidden(channels=[3, 77]).sizes["channel"]
            2
        """
        self.site_with_values(stream, site)
        chosen = None if channels is None else checks.whole_numbers("channels", channels)
        if dtype is not None:
            dtype = checks.name_of("dtype", dtype, ("float32", "float64"))
        return self._hidden(stream, site, chosen, bool(committed_only), dtype)

    def _hidden(
        self,
        stream: str,
        site: str,
        channels: tuple[int, ...] | None,
        committed_only: bool,
        dtype: str | None,
    ) -> xr.DataArray:
        own, samples = self.site_with_values(stream, site), self.chosen_samples(committed_only)
        attributes: dict[str, Any] = {"stream": stream, "site": site, "dtype": self.schema.dtype}
        of_stream = self.schema.stream(stream)
        if own.has_tokens and of_stream.has_grid:
            attributes |= {"grid_height": of_stream.grid_height, "grid_width": of_stream.grid_width}
        positions = None if channels is None else self._channel_positions(channels)
        array = self._array(values_path(own), samples, positions)
        if dtype is not None:
            array = array.astype(dtype)
        coords = self._coords(own, samples, positions)
        return xr.DataArray(array.data, coords, array.dims, name=site, attrs=attributes)

    def torch(
        self,
        stream: str = "image",
        site: str = "block_output",
        *,
        samples: Sequence[int] | None = None,
        steps: int | Sequence[int] | None = None,
        branches: str | Sequence[str] | None = None,
        blocks: checks.Address | Sequence[checks.Address] | None = None,
        channels: Sequence[int] | None = None,
    ) -> Tensor:
        """Hidden states of a site as a tensor in memory, bit for bit: bfloat16 is torch's own.

        Args:
            stream: recorded stream.
            site: recorded site.
            samples: positions of recorded samples; all by default, as of the rest.
            steps: indices into the scheduler's timesteps, negative ones counting from the last recorded.
            branches: ``cond``, ``uncond``.
            blocks: indices, negative indices, names (``single.5``) or kinds.
            channels: true ids, in this order; only their chunks are read.

        Returns:
            ``[sample, step, branch, block, token, channel]``; of modulation, float32 without ``token``.

        Raises:
            InputError: something that was not recorded.
            CacheError: the cache has statistics only.

        Examples:
            >>> tuple(cache.torch(blocks="single.5", steps=-1, branches="cond", channels=[3, 77]).shape)
            (4, 1, 1, 1, 256, 2)
        """
        from ditscope.recording.transfer import from_host  # where torch begins; this is only a door

        own = self.site_with_values(stream, site)
        here = [block for block in self.schema.blocks if block.index in own.blocks]
        kept = {
            "sample": self.committed if samples is None else checks.whole_numbers("samples", samples),
            "step": checks.find_steps([step.index for step in self.schema.steps], steps),
            "branch": self.schema.branches if branches is None else checks.branches(branches),
            "block": [block.index for block in checks.find_blocks(here, blocks)],
        }
        for dim, known in (("sample", self.committed), ("branch", self.schema.branches)):
            for label in kept[dim]:
                position(dim, label, known)
        hidden = self.hidden(stream, site, channels=channels)
        return from_host(hidden.sel({dim: list(labels) for dim, labels in kept.items()}).values)

    def site_with_values(self, stream: str, site: str) -> StoredSite:
        """A site whose values are there, and not statistics alone.

        Raises:
            InputError: the stream or site was not recorded.
            CacheError: there are statistics only.
        """
        own = self.schema.site(stream, site)
        if own.has_tokens and not self.schema.tensors:
            raise CacheError(
                "a cache of statistics only",
                "hidden states",
                "Use .stats(), or record with tensors=True.",
            )
        return own

    def values_at(
        self,
        stream: str,
        site: str,
        *,
        samples: Sequence[int],
        step: int,
        branch: str,
        block: int,
        channels: Sequence[int] | None = None,
    ) -> np.ndarray[Any, Any]:
        """What was read at one address, and nothing else is read for it.

        Args:
            stream: recorded stream.
            site: recorded site.
            samples: positions of recorded samples.
            step: index into the scheduler's timesteps.
            branch: ``cond`` or ``uncond``.
            block: index in the model's execution order.
            channels: true ids of the channels; None for all.

        Returns:
            ``[sample, token, channel]`` in the stored dtype; of modulation, float32 ``[sample, channel]``.

        Raises:
            InputError: the stream, site, a channel, or the address was not recorded.
            CacheError: there are statistics only; or what is read is not what was recorded.
        """
        own = self.site_with_values(stream, site)
        positions = None if channels is None else self._channel_positions(channels)
        return self._at(values_path(own), samples, self.positions_at(own, step, branch, block), positions)

    def token_mask(self, stream: str, samples: Sequence[int], branch: str) -> np.ndarray[Any, Any]:
        """Which tokens of a stream are real, bool ``[sample, token]``."""
        spec = self.schema.stream(stream)
        if spec.has_grid:
            return np.ones((len(samples), spec.tokens), bool)
        at = position("branch", branch, self.schema.branches)
        return self._at(f"{stream}/token_mask", samples, (at,), None)

    def token_texts(self, stream: str = "text", samples: Sequence[int] | None = None) -> xr.DataArray:
        """What the tokenizer calls each token of the text stream, such as ``▁red``, by committed sample and branch.

        ::

            hidden = cache.hidden("text", dtype="float32").assign_coords(token_text=cache.token_texts())
            red = hidden.where(hidden["token_text"] == "▁red").mean("token")

        Args:
            stream: recorded text stream.
            samples: positions of committed samples; all by default.

        Returns:
            Strings ``[sample, branch, token]``: the tokenizer's own, for padding too. Empty behind the end of a text
            that is shorter than others, and where it is not known what encoders were given, as of embeddings.

        Raises:
            InputError: the stream was not recorded, or is no text; or a sample is not committed.
        """
        spec = self.schema.stream(stream)
        if spec.has_grid:
            raise InputError(
                f"tokens of the stream {stream!r} as text", "a text stream", "Pass stream='text'."
            )
        chosen = self.committed if samples is None else checks.whole_numbers("samples", samples)
        for sample in () if samples is None else chosen:
            position("sample", sample, self.committed)
        texts = [self.ledger[sample].text for sample in chosen]
        names = token_names(texts, self.schema.branches, spec.tokens)
        labels = self.labels_of(chosen) | branch_labels(self.schema) | token_labels(spec, kept=False)
        return xr.DataArray(names, dims=("sample", "branch", "token"), name="token_text", coords=labels)

    @cached_property
    def images(self) -> xr.DataArray:
        """Final images of the committed samples: lazy uint8 ``[sample, y_pixel, x_pixel, rgb]``.

        Examples:
            >>> from PIL import Image
            >>> picture = Image.fromarray(cache.images.isel(sample=0).values)
        """
        if "images" not in self.plans:
            raise CacheError("a cache without images", "images", "Record with the images' size.")
        return (
            self._array("images", self.committed)
            .rename("images")
            .assign_coords(self.labels_of(self.committed))
        )

    @cached_property
    def trajectory(self) -> xr.Dataset:
        """Latents and transformer outputs of the committed samples, over all steps of the scheduler.

        ``latents`` ``[sample, step_boundary, token, latent_channel]`` float32, where boundary i is the
        state before step i and the last is the result; ``transformer_output``
        ``[sample, step, branch, token, latent_channel]`` in the model's dtype.

        Examples:
            >>> cache.trajectory["latents"].dims
            ('sample', 'step_boundary', 'token', 'latent_channel')
        """
        if self.schema.trajectory is None:
            raise CacheError("a cache without trajectory", "a trajectory", "Record with one.")
        arrays = {
            name: self._array(f"trajectory/{name}", self.committed)
            for name in ("latents", "transformer_output")
        }
        return xr.Dataset(arrays, coords=self.labels_of(self.committed) | trajectory_labels(self.schema))

    @property
    def samples(self) -> pd.DataFrame:
        """Prompt, seed and ``done`` of every sample, committed or not, and the columns that its user gave it.

        ``live`` is the digest of the model's live state that a committed sample was made in, where it is known;
        ``call`` has the arguments that are the sample's own, where there are any.
        """
        return samples_table(self.specs, self.ledger)

    @property
    def truncated(self) -> pd.DataFrame:
        """Tokens of the prompts that text encoders were not given, by committed sample and encoder.

        Columns ``sample``, ``prompt``, ``text_encoder`` and ``cut``, the number of tokens. The coordinate
        ``truncated`` of every array says where a prompt was cut in all of its encoders.
        """
        return truncated_prompts(self.ledger)

    def chosen_samples(self, committed_only: bool) -> tuple[int, ...]:
        """The committed samples, or all."""
        return self.committed if committed_only else tuple(range(len(self.specs)))

    def labels_of(self, samples: Sequence[int]) -> Labels:
        """Labels of samples, with what the ledger says: ``done``; ``truncated`` and ``encoded_text`` where known."""
        return recorded_sample_labels(self.specs, self.ledger, samples)

    def positions_at(self, site: StoredSite, step: int, branch: str, block: int) -> tuple[int, int, int]:
        """Positions of an address along a site's steps, branches and blocks."""
        return (
            position("step", step, [step.index for step in self.schema.steps]),
            position("branch", branch, self.schema.branches),
            position("block", block, site.blocks),
        )

    def _coords(
        self, site: StoredSite, samples: Sequence[int], channels: Sequence[int] | None
    ) -> xr.Coordinates:
        """Labels of a site's values, of channels at these positions: made once, since that takes longest of all."""
        known = self._known_coords.get(key := (site.folder, tuple(samples)))
        if known is None:
            known = self._known_coords[key] = xr.Coordinates(self._labels(site, samples))
        ids = None if channels is None else [self.schema.channels[position] for position in channels]
        return of_channels(known, ids)

    def _labels(self, site: StoredSite, samples: Sequence[int]) -> Labels:
        labels = self.labels_of(samples) | site_labels(self.schema, site)
        if site.has_tokens:
            stream = self.schema.stream(site.stream)
            labels |= recorded_token_labels(stream, lambda path: self._stored(path, samples))
        return labels

    @cached_property
    def _known_coords(self) -> dict[tuple[str, tuple[int, ...]], xr.Coordinates]:
        return {}

    @cached_property
    def _position_of_channel(self) -> dict[int, int]:
        return {channel: position for position, channel in enumerate(self.schema.channels)}

    def _channel_positions(self, channels: Sequence[int]) -> list[int]:
        known = self._position_of_channel
        wanted = checks.whole_numbers("channels", channels)
        for channel in wanted:
            if channel not in known:
                raise InputError(
                    f"channel {channel}",
                    f"one of the {len(known)} recorded of {self.schema.width}",
                    "Pass recorded channel ids.",
                )
        return [known[channel] for channel in wanted]


def position(what: str, label: Any, labels: Sequence[Any]) -> int:
    """Where a label is among those there are.

    Raises:
        InputError: it is not among them.
    """
    if label not in labels:
        raise unknown_name(what, label, labels)
    return labels.index(label)


def statistics_of_one(values: xr.DataArray) -> xr.Dataset:
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
