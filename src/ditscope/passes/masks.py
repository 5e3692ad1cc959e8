"""Foreground masks from a few channels of the image stream.

Two ways to fail are reported beside every mask. *Polarity*: the rule "foreground is where the channels
are larger" inverts with the sign of the channels; scoring also reports the better of the two.
*Register collapse*: a few extreme tokens that all channels share take a cluster to themselves;
``collapsed`` says when a side of the mask holds almost no token.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError, unknown_name
from ditscope.passes.clustering import ImageMask, Protocol, locate
from ditscope.passes.source import Source, hidden_states

Lookup: TypeAlias = Callable[[Mapping[str, Any], int], np.ndarray]
"""From an image's labels and a draw to channel ids."""

COLLAPSE_SHARE = 0.02
"""A side of the mask with less than this share of the tokens counts as collapsed."""

_SLAB_BYTES = 256 << 20


class Image(NamedTuple):
    """Hidden states of one sample at one block and step."""

    at: tuple[int, int, int]
    labels: dict[str, Any]
    values: np.ndarray
    ids: np.ndarray

    def of(self, channels: np.ndarray) -> np.ndarray:
        """Values float32 ``[token, channel]`` of these channels."""
        order = np.argsort(self.ids)
        return self.values[:, order[np.searchsorted(self.ids, channels, sorter=order)]]


def spatial_masks(
    source: Source,
    channels: ChannelSet | Sequence[int] | str = "all",
    *,
    block: int | str | Sequence[int | str] | None = -1,
    step: int | Sequence[int] | None = -1,
    branch: str = "cond",
    k: int = 2,
    scale: str = "minmax",
    percentile: float = 2.0,
    polarity: str = "signed",
    features: str = "channels",
    components: int = 12,
    collapse_share: float = COLLAPSE_SHARE,
    seed: int = 0,
    n_init: int = 10,
    site: str = "block_output",
) -> xr.Dataset:
    """Masks on the latent grid by K-means over the tokens of each image (arXiv 2605.13974, 3.2).

    Args:
        source: a cache or its ``hidden()`` array of the image stream.
        channels: a channel set (one per block, or per sample too, as the paper ranks), a list of
            channel ids, or ``all``.
        block: an index, a name such as ``single.5``, -1 for the last recorded, or several; None for all.
        step: a scheduler step index, -1 for the last recorded, or several; None for all.
        branch: ``cond`` or ``uncond``.
        k: clusters.
        scale: ``minmax``, ``zscore``, ``percentile`` (clipped min-max) or ``none``, per channel.
        percentile: lower clip of ``percentile``, in per cent.
        polarity: which cluster is the foreground: ``signed``, ``abs``, ``border`` or ``minority``.
        features: ``channels``, or ``pca`` for principal components of the channels.
        components: how many, with ``pca``.
        collapse_share: below this share of tokens, a side of the mask counts as collapsed.
        seed: of K-means.
        n_init: K-means initialisations.
        site: where in a block.

    Returns:
        ``mask`` bool, ``heat`` (sum of the scaled channels) and ``cluster``, ``[(block,) (step,) (draw,)
        sample, y, x]``; ``foreground_share``, ``collapsed`` and ``nonfinite_channels`` without ``y, x``.

    Raises:
        InputError: for an unknown block, step, branch, channel or option.
    """
    if features not in ("channels", "pca"):
        raise unknown_name("features", features, ("channels", "pca"))
    protocol = Protocol(
        k, scale, percentile, polarity, components if features == "pca" else None, seed, n_init
    )
    place: dict[str, Any] = {"block": block, "step": step, "branch": branch, "site": site}
    hidden = select(source, **place)
    lookup, draws = channel_lookup(channels, hidden)
    out = MaskTable(hidden, draws, collapse_share)
    for image in images(select(source, **place, channels=used_channels(hidden, [(lookup, draws)]))):
        for draw in range(draws):
            found = locate(image.of(lookup(image.labels, draw)), out.border, protocol)
            out.put((*image.at[:2], draw, image.at[2]), found)
    single = [
        dim for dim, asked in (("block", block), ("step", step)) if asked is not None and np.ndim(asked) == 0
    ]
    if draws == 1:
        single.append("draw")
    return (
        out.dataset()
        .squeeze(single)
        .assign_attrs(
            site=site, branch=branch, features=features, k=k, scale=scale, polarity=polarity, seed=seed
        )
    )


def select(
    source: Source, *, block: Any, step: Any, branch: str, site: str, channels: list[int] | None = None
) -> xr.DataArray:
    """Image-stream hidden states ``[block, step, sample, token, channel]`` of what was asked for, lazily."""
    hidden = hidden_states(source, "image", site, channels=channels)
    if not {"y", "x"} <= set(hidden.coords):
        raise InputError(
            "tokens without y and x", "tokens with the latent grid's y and x", "Pass the image stream."
        )
    for dim in ("sample", "step", "branch", "block"):
        if dim not in hidden.dims:
            hidden = hidden.expand_dims(dim)
    if "branch" in hidden.coords:
        known = [str(name) for name in hidden["branch"].values]
        if branch not in known:
            raise unknown_name("branch", branch, known)
        hidden = hidden.isel(branch=known.index(branch))
    else:
        hidden = hidden.isel(branch=0)
    hidden = hidden.isel(block=_positions(hidden, "block", block), step=_positions(hidden, "step", step))
    return hidden.transpose("block", "step", "sample", "token", "channel")


def channel_lookup(channels: ChannelSet | Sequence[int] | str, hidden: xr.DataArray) -> tuple[Lookup, int]:
    """A function from labels and draw to channel ids, and the number of draws."""
    ids = hidden["channel"].values
    if isinstance(channels, str):
        if channels != "all":
            raise InputError(f"channels={channels!r}", "a ChannelSet, a list of ids, or 'all'", "Use one.")
        return (lambda labels, draw: ids), 1
    chosen = channels if isinstance(channels, ChannelSet) else ChannelSet.of(channels)
    if chosen.stream != "image":
        raise InputError(f"channels of the {chosen.stream} stream", "the image stream", "Rank that stream.")
    recorded = set(ids.tolist())
    draws = [chosen.draw(number) for number in range(chosen.draws)]
    kept = [dim for dim in draws[0].kept if dim != "block"]
    memory: dict[tuple[Any, ...], np.ndarray] = {}

    def at(labels: Mapping[str, Any], draw: int) -> np.ndarray:
        key = (draw, labels["block"], *(labels[dim] for dim in kept))
        if key not in memory:
            one = draws[draw].sel(**{dim: labels[dim] for dim in kept}) if kept else draws[draw]
            asked = one[labels["block"]]
            missing = [int(channel) for channel in asked if channel not in recorded]
            if missing:
                raise InputError(
                    f"channel {missing[0]} in the set",
                    f"one of the {len(ids)} recorded channels",
                    "Record all channels.",
                )
            memory[key] = asked
        return memory[key]

    for labels in _cells(hidden):  # every refusal comes before any reading
        for draw in range(chosen.draws):
            at(labels, draw)
    return at, chosen.draws


def used_channels(hidden: xr.DataArray, lookups: Iterable[tuple[Lookup, int]]) -> list[int]:
    """Ids of the channels that any of the lookups, each with its number of draws, asks for."""
    found = [
        lookup(labels, draw)
        for lookup, draws in lookups
        for labels in _cells(hidden)
        for draw in range(draws)
    ]
    return [int(channel) for channel in np.unique(np.concatenate(found))]


def images(hidden: xr.DataArray) -> Iterator[Image]:
    """Every image of :func:`select`'s array, sample by sample, in slabs of bounded size."""
    blocks, steps, samples, tokens, width = (hidden.sizes[dim] for dim in hidden.dims)
    together = max(1, _SLAB_BYTES // (4 * tokens * width * steps))
    ids = hidden["channel"].values
    for sample in tqdm(range(samples), desc="masks", disable=None, delay=2, leave=False):
        for start in range(0, blocks, together):
            stop = min(start + together, blocks)
            slab = hidden.isel(sample=sample, block=slice(start, stop)).astype(np.float32).values
            for block, step in np.ndindex(stop - start, steps):
                at = (start + block, step, sample)
                yield Image(at, _labels(hidden, *at), slab[block, step], ids)


class MaskTable:
    """Masks as they are found, filled in by position ``(block, step, draw, sample)``."""

    def __init__(self, hidden: xr.DataArray, draws: int, collapse_share: float) -> None:
        self._hidden, self._collapse_share = hidden, collapse_share
        self._y, self._x = (hidden[name].values.astype(int) for name in ("y", "x"))
        self.height, self.width = (int(edge.max()) + 1 for edge in (self._y, self._x))
        if self.height * self.width != hidden.sizes["token"]:
            raise InputError(
                f"{hidden.sizes['token']} tokens on a {self.height} x {self.width} grid",
                "a token for every cell",
                "Record all image tokens.",
            )
        self.border = (
            (self._y == 0) | (self._x == 0) | (self._y == self.height - 1) | (self._x == self.width - 1)
        )
        cells = (hidden.sizes["block"], hidden.sizes["step"], draws, hidden.sizes["sample"])
        grid = (*cells, self.height, self.width)
        self.mask = np.zeros(grid, dtype=bool)
        self.heat = np.zeros(grid, dtype=np.float32)
        self.cluster = np.zeros(grid, dtype=np.int8)
        self.lost = np.zeros(cells, dtype=int)

    def put(self, at: tuple[int, int, int, int], found: ImageMask) -> None:
        """HookPoint one image's mask on its grid."""
        self.mask[at][self._y, self._x] = found.mask
        self.heat[at][self._y, self._x] = found.heat
        self.cluster[at][self._y, self._x] = found.cluster
        self.lost[at] = found.lost

    def dataset(self) -> xr.Dataset:
        """Everything, labelled ``[block, step, draw, sample, y, x]``."""
        if self.lost.any():
            warnings.warn(
                f"NaN or infinity in {int((self.lost > 0).sum())} of {self.lost.size} masks: those channels "
                "are left out there; see nonfinite_channels.",
                stacklevel=3,
            )
        cells = ("block", "step", "draw", "sample")
        share = self.mask.mean((-2, -1))
        coords = {
            name: c for name, c in self._hidden.coords.items() if not {"token", "channel"} & set(c.dims)
        }
        return xr.Dataset(
            {
                "mask": ((*cells, "y", "x"), self.mask),
                "heat": ((*cells, "y", "x"), self.heat),
                "cluster": ((*cells, "y", "x"), self.cluster),
                "foreground_share": (cells, share),
                "collapsed": (cells, np.minimum(share, 1 - share) < self._collapse_share),
                "nonfinite_channels": (cells, self.lost),
            },
            coords=coords | {"y": np.arange(self.height), "x": np.arange(self.width)},
            attrs={"collapse_share": self._collapse_share},
        )


def _labels(hidden: xr.DataArray, block: int, step: int, sample: int) -> dict[str, Any]:
    at = {"block": block, "step": step, "sample": sample}
    labels = {dim: hidden[dim].values[position] for dim, position in at.items()}
    return labels | ({"branch": hidden["branch"].item()} if "branch" in hidden.coords else {})


def _cells(hidden: xr.DataArray) -> Iterator[dict[str, Any]]:
    shape = (hidden.sizes["block"], hidden.sizes["step"], hidden.sizes["sample"])
    return (_labels(hidden, *at) for at in np.ndindex(*shape))


def _positions(hidden: xr.DataArray, dim: str, asked: Any) -> list[int]:
    """Positions along ``dim`` of labels, names, or negative counts from the end."""
    if asked is None:
        return list(range(hidden.sizes[dim]))
    labels = hidden[dim].values.tolist()
    names = hidden["block_name"].values.tolist() if dim == "block" and "block_name" in hidden.coords else []
    found = []
    for one in [asked] if np.ndim(asked) == 0 else asked:
        whole = isinstance(one, (int, np.integer)) and not isinstance(one, bool)
        if isinstance(one, str) and one in names:
            found.append(names.index(one))
        elif whole and one in labels:
            found.append(labels.index(one))
        elif whole and -len(labels) <= one < 0:
            found.append(len(labels) + int(one))
        else:
            raise unknown_name(dim, one, [*labels, *names])
    if not found:
        raise InputError(f"no {dim}", f"at least one {dim}", f"Pass {dim}=None for all.")
    return found
