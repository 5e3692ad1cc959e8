"""Masks of many images on the latent grid, for several sets of channels at once.

Two ways to fail are reported beside every mask. *Polarity*: the rule "foreground is where the channels
are larger" inverts with the sign of the channels; scoring also reports the better of the two.
*Register collapse*: a few extreme tokens that all channels share take a cluster to themselves;
``collapsed`` says when a side of the mask has almost no token.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.passes.clustering import foreground
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.polarity_vote import turned_over
from ditscope.passes.source import Source, hidden_states, own_dtype, whole_chunks
from ditscope.passes.tensors import chosen_ids, chosen_places, with_places
from ditscope.precision import at_limit

Channels: TypeAlias = ChannelSet | Sequence[int] | str
"""A channel set, a list of channel ids, or ``all``."""

_SLAB_BYTES = 256 << 20


@dataclass(frozen=True)
class ImageStates:
    """Which hidden states of the image stream masks are made from; the arguments of ``spatial_masks``."""

    source: Source
    blocks: Address | Iterable[Address] | None
    steps: int | Iterable[int] | None
    branch: str
    site: str

    def read(self, channels: Sequence[int] | None = None) -> xr.DataArray:
        """Hidden states ``[block, step, sample, token, channel]``, of some channels if named, lazily."""
        hidden = hidden_states(self.source, "image", self.site, channels=channels)
        if not {"y", "x"} <= set(hidden.coords):
            raise InputError(
                "tokens without y and x", "tokens with the latent grid's y and x", "Pass the image stream."
            )
        chosen = chosen_places(with_places(hidden), self.blocks, self.steps, self.branch)
        return chosen.isel(branch=0).transpose("block", "step", "sample", "token", "channel")


def make_masks(
    states: ImageStates, wanted: Mapping[str, tuple[Channels, MaskOptions]]
) -> dict[str, xr.Dataset]:
    """Masks ``[block, step, draw, sample, y, x]`` by name, of channels and options by name.

    Every refusal comes before any reading, and each image is read once, with only the channels in use.
    """
    hidden = states.read()
    tables = {name: _MaskTable(hidden, channels, options) for name, (channels, options) in wanted.items()}
    used = np.unique(np.concatenate([table.used() for table in tables.values()]))
    for image in _images(states.read([int(channel) for channel in used])):
        for table in tables.values():
            table.fill(image)
    return {name: table.dataset() for name, table in tables.items()}


class _Image(NamedTuple):
    """Hidden states ``[token, channel]`` of one sample at one block and step."""

    at: tuple[int, int, int]
    values: np.ndarray
    ids: np.ndarray

    def of(self, channels: np.ndarray) -> np.ndarray:
        """Values float32 ``[token, channel]`` of these channels."""
        order = np.argsort(self.ids)
        return self.values[:, order[np.searchsorted(self.ids, channels, sorter=order)]]


def _images(hidden: xr.DataArray) -> Iterator[_Image]:
    """Every image, in slabs of bounded size and of whole chunks, so that none is read twice."""
    blocks, steps, samples, tokens, width = (hidden.sizes[dim] for dim in hidden.dims)
    together = _SLAB_BYTES // (4 * tokens * width * steps)  # of samples, or of blocks of one sample
    ids = hidden["channel"].values
    with tqdm(total=samples, desc="masks", disable=None, delay=2, leave=False) as bar:
        for some in whole_chunks(hidden, "sample", together // blocks):
            for part in whole_chunks(hidden, "block", together // (some.stop - some.start)):
                slab = hidden.isel(sample=some, block=part).astype(np.float32).values
                for block, step, sample in np.ndindex(*slab.shape[:3]):
                    at = (part.start + block, step, some.start + sample)
                    yield _Image(at, slab[block, step, sample], ids)
            bar.update(some.stop - some.start)


class _MaskTable:
    """The masks of one set of channels, filled in image by image."""

    def __init__(self, hidden: xr.DataArray, channels: Channels, options: MaskOptions) -> None:
        self._hidden, self._options = hidden, options
        self._y, self._x = (hidden[name].values.astype(int) for name in ("y", "x"))
        self._height, self._width = (int(edge.max()) + 1 for edge in (self._y, self._x))
        if self._height * self._width != hidden.sizes["token"]:
            raise InputError(
                f"{hidden.sizes['token']} tokens on a {self._height} x {self._width} grid",
                "a token for every cell",
                "Record all image tokens.",
            )
        last_y, last_x = self._height - 1, self._width - 1
        self._border = (self._y == 0) | (self._x == 0) | (self._y == last_y) | (self._x == last_x)
        if options.vote and hidden.sizes["block"] < 3:
            raise InputError(
                f"a vote of {hidden.sizes['block']} blocks",
                "three or more",
                "Name more blocks, or leave vote out.",
            )
        self._draws = _draws(channels)
        self._ids = {at: self._chosen(*at) for at in np.ndindex(len(self._draws), *hidden.shape[:3])}
        shape = (hidden.sizes["block"], hidden.sizes["step"], len(self._draws), hidden.sizes["sample"])
        grid = (*shape, self._height, self._width)
        self._mask = np.zeros(grid, dtype=bool)
        self._heat = np.zeros(grid, dtype=np.float32)
        self._cluster = np.zeros(grid, dtype=np.int8)
        self._nonfinite, self._saturated = np.zeros((2, *shape), dtype=int)
        self._dtype = own_dtype(hidden)

    def used(self) -> np.ndarray:
        """Ids of the channels that are asked for anywhere."""
        return np.unique(np.concatenate(list(self._ids.values())))

    def fill(self, image: _Image) -> None:
        """Make the masks of one image, one for each draw."""
        block, step, sample = image.at
        for draw in range(len(self._draws)):
            values = image.of(self._ids[draw, block, step, sample])
            tokens = foreground(values, self._border, self._options)
            at = (block, step, draw, sample)
            self._mask[at][self._y, self._x] = tokens.mask
            self._heat[at][self._y, self._x] = tokens.heat
            self._cluster[at][self._y, self._x] = tokens.cluster
            self._nonfinite[at] = tokens.nonfinite
            self._saturated[at] = at_limit(values, self._dtype).any(axis=0).sum()

    def dataset(self) -> xr.Dataset:
        """Everything, labelled ``[block, step, draw, sample, y, x]``."""
        if self._nonfinite.any():
            warnings.warn(
                f"NaN or infinity in {int((self._nonfinite > 0).sum())} of {self._nonfinite.size} masks: those "
                "channels are left out there; see nonfinite_channels.",
                stacklevel=4,
            )
        if self._saturated.any():
            warnings.warn(
                f"values at the limit of {self._dtype} in {int((self._saturated > 0).sum())} of "
                f"{self._saturated.size} masks: they were clipped there; see saturated_channels.",
                stacklevel=4,
            )
        dims = ("block", "step", "draw", "sample")
        if self._options.vote:
            for at in np.ndindex(self._mask.shape[1:4]):
                masks = self._mask[(slice(None), *at)]
                masks[turned_over(masks.reshape(len(masks), -1))] ^= True
        share = self._mask.mean((-2, -1))
        coords = {
            name: c for name, c in self._hidden.coords.items() if not {"token", "channel"} & set(c.dims)
        }
        return xr.Dataset(
            {
                "mask": ((*dims, "y", "x"), self._mask),
                "heat": ((*dims, "y", "x"), self._heat),
                "cluster": ((*dims, "y", "x"), self._cluster),
                "foreground_share": (dims, share),
                "collapsed": (dims, np.minimum(share, 1 - share) < self._options.collapse_share),
                "nonfinite_channels": (dims, self._nonfinite),
                "saturated_channels": (dims, self._saturated),
            },
            coords=coords | {"y": np.arange(self._height), "x": np.arange(self._width)},
            attrs=self._options.attributes(),
        )

    def _chosen(self, draw: int, block: int, step: int, sample: int) -> np.ndarray:
        chosen, recorded = self._draws[draw], self._hidden["channel"].values
        if chosen is None:
            return recorded
        at = {"block": block, "step": step, "sample": sample}
        labels: dict[str, Any] = {dim: self._hidden[dim].values[position] for dim, position in at.items()}
        if "branch" in self._hidden.coords:
            labels["branch"] = self._hidden["branch"].item()
        wanted = {dim: labels[dim] for dim in ("block", *chosen.kept)}
        return chosen_ids(chosen, wanted, recorded)


def _draws(channels: Channels) -> list[ChannelSet | None]:
    """One set for each draw; None for all channels."""
    if isinstance(channels, str):
        if channels != "all":
            raise InputError(
                f"channels={channels!r}", "a ChannelSet, a list of ids, or 'all'", "Pass one of them."
            )
        return [None]
    chosen = channels if isinstance(channels, ChannelSet) else ChannelSet.of(channels)
    if chosen.stream != "image":
        raise InputError(f"channels of the {chosen.stream} stream", "the image stream", "Rank that stream.")
    return [chosen.draw(number) for number in range(chosen.draws)]
