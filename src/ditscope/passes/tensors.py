"""Hidden states one tensor at a time, in bounded memory, and the channels that sets choose of each."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.passes.source import array_blocks, whole_chunks
from ditscope.vocabulary import HIDDEN_DIMS

PLACES = HIDDEN_DIMS[:-2]
"""Dims that say which tensor it is."""

_SLAB_BYTES = 256 << 20


class Tensor(NamedTuple):
    """One image's hidden state at a block: float32 ``[token, channel]``, of its real tokens, and where it is.

    ``at`` has its positions along sample, step, branch and block.
    """

    at: tuple[int, int, int, int]
    values: np.ndarray


def with_places(hidden: xr.DataArray) -> xr.DataArray:
    """Hidden states with all dims of the vocabulary, in its order."""
    return hidden.expand_dims([dim for dim in PLACES if dim not in hidden.dims]).transpose(*HIDDEN_DIMS)


def chosen_places(
    hidden: xr.DataArray,
    blocks: Address | Iterable[Address] | None,
    steps: int | Iterable[int] | None,
    branch: str,
) -> xr.DataArray:
    """Hidden states, as of :func:`with_places`, of some blocks and steps and of one branch.

    Raises:
        InputError: an unknown block, step or branch.
    """
    branches = [str(name) for name in hidden["branch"].values] if "branch" in hidden.coords else [branch]
    known, labels = array_blocks(hidden), hidden["step"].values.tolist()
    return hidden.isel(
        branch=[branches.index(checks.name_of("branch", branch, branches))],
        block=[known.index(block) for block in checks.find_blocks(known, blocks)],
        step=[labels.index(step) for step in checks.find_steps(labels, steps)],
    )


def each_tensor(hidden: xr.DataArray, title: str) -> Iterator[Tensor]:
    """Every tensor of hidden states ``[sample, step, branch, block, token, channel]``.

    Steps of one sample, branch and block come in order. What is read at once is bounded, and nothing is read twice.

    Args:
        hidden: as of :func:`with_places`.
        title: of the progress bar.
    """
    real = None
    if "token_mask" in hidden.coords:
        each = hidden.isel(channel=0, drop=True)
        real = each["token_mask"].astype(bool).broadcast_like(each).transpose(*each.dims).compute()
    together = max(1, _SLAB_BYTES // (4 * hidden.sizes["token"] * hidden.sizes["channel"]))
    spans = {}
    for dim in ("step", "block", "sample"):
        spans[dim] = whole_chunks(hidden, dim, together)
        together //= max(span.stop - span.start for span in spans[dim])
    with tqdm(total=int(np.prod(hidden.shape[:4])), desc=title, disable=None, delay=2, leave=False) as bar:
        for samples in spans["sample"]:
            for branch in range(hidden.sizes["branch"]):
                for blocks in spans["block"]:
                    for steps in spans["step"]:
                        slab = hidden[samples, steps, branch, blocks].astype(np.float32).values
                        for sample, step, block in np.ndindex(*slab.shape[:3]):
                            at = (samples.start + sample, steps.start + step, branch, blocks.start + block)
                            values = slab[sample, step, block]
                            yield Tensor(at, values if real is None else values[real.values[at]])
                        bar.update(int(np.prod(slab.shape[:3])))


class MemberTable:
    """Which channels of hidden states each draw of named sets has, at each place.

    Args:
        hidden: as of :func:`with_places`.
        sets: by name.

    Attributes:
        shape: number of sets, and of draws of the set that has most.

    Raises:
        InputError: no sets, a set of another stream, or a channel or place that is not there; before anything is read.
    """

    def __init__(self, hidden: xr.DataArray, sets: Mapping[str, ChannelSet]) -> None:
        if not sets:
            raise InputError("no channel sets", "at least one", "Pass {'massive': ranking.top(12), ...}.")
        self._labels = {dim: hidden[dim].values for dim in PLACES if dim in hidden.coords}
        self._ids = hidden["channel"].values
        self._sets, stream = dict(sets), hidden.attrs.get("stream", "image")
        for name, chosen in sets.items():
            if chosen.stream != stream:
                raise InputError(
                    f"{name!r}: channels of the {chosen.stream} stream",
                    f"the {stream} stream",
                    "Rank that stream.",
                )
        self.shape = (len(sets), max(chosen.draws for chosen in sets.values()))
        self._at = functools.cache(self._members)
        for place in np.ndindex(*hidden.shape[:4]):
            for _ in self.at(place):
                pass

    def at(self, place: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """``(set, draw)`` and bool ``[channel]`` of every draw of every set at a place."""
        for number, chosen in enumerate(self._sets.values()):
            kept = [dim for dim in chosen.kept if dim != "draw"]
            labels = tuple((dim, self._labels[dim][place[PLACES.index(dim)]]) for dim in kept)
            for draw in range(chosen.draws):
                yield (number, draw), self._at(number, draw, labels)

    def coords(self) -> dict[str, Any]:
        """Names of the sets along ``selector``, which of them are controls, and draws."""
        controls = [chosen.control for chosen in self._sets.values()]
        return {
            "selector": list(self._sets),
            "control": ("selector", controls),
            "draw": range(self.shape[1]),
        }

    def _members(self, number: int, draw: int, labels: tuple[tuple[str, Any], ...]) -> np.ndarray:
        chosen = list(self._sets.values())[number].draw(draw)
        ids = chosen_ids(chosen, dict(labels), self._ids)
        return np.isin(self._ids, ids)


def chosen_ids(chosen: ChannelSet, labels: Mapping[str, Any], recorded: np.ndarray) -> np.ndarray:
    """Ids of a set of one draw at a place.

    Args:
        chosen: the set.
        labels: of the place along the dims that the set has.
        recorded: ids of the channels that there are.

    Raises:
        InputError: the set has no such place, or a channel that is not recorded.
    """
    others = {dim: label for dim, label in labels.items() if dim != "block"}
    ids = (chosen.sel(**others) if others else chosen)[labels.get("block", 0)]
    missing = ids[~np.isin(ids, recorded)]
    if len(missing):
        raise InputError(
            f"channel {missing[0]} in the set",
            f"one of the {len(recorded)} recorded channels",
            "Record all channels.",
        )
    return ids
