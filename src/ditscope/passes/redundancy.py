"""How much of a hidden state changes from step to step, and what of the change massive channels make.

Caches of features (Chipmunk, ProCache) rest on small changes, and choose what to compute anew by the size of a change.
Massive channels can make the relative change small, and a rule by size theirs, whatever the other channels do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.passes.iou import ratio
from ditscope.passes.source import Source, hidden_states, warn_left_out
from ditscope.passes.tensors import PLACES, MemberTable, each_tensor, with_places

__all__ = ["redundancy"]

_PARTS = (
    *("relative_change_of", "relative_change_without", "cosine_of", "cosine_without"),
    *("change_share", "energy_share", "channel_share", "token_jaccard", "entry_share"),
)


def redundancy(
    source: Source,
    sets: Mapping[str, ChannelSet],
    *,
    stream: str = "image",
    site: str = "block_output",
    keep: float = 0.3,
) -> xr.Dataset:
    """Change of hidden states between recorded steps that follow each other, with and without sets of channels.

    A rule that computes the largest changes anew takes the share ``keep`` of them: of tokens, by the sum of squared
    changes over channels, or of entries (token and channel), by their size.

    Args:
        source: a cache, or hidden states of two steps or more.
        sets: channel sets by name, the one under test first, then its controls.
        stream: ``image`` or ``text``.
        site: where in a block; caches keep ``attn_output`` and ``mlp_output``, or what a block adds.
        keep: share of the largest changes that the rule chooses, above 0 to 1.

    Returns:
        Float64 ``[sample, step, branch, block]``, step the later one (``step_before`` is the other):
        ``relative_change`` ``|x' - x| / |x|`` (root sums of squares over tokens and channels) and ``cosine`` of x and
        x'; and ``channel_change`` ``[..., channel]``, the sum over tokens of ``|x' - x|`` over that of ``|x|``. Of
        each set ``[selector, draw, sample, step, branch, block]``, NaN past its draws: ``relative_change_of`` and
        ``cosine_of`` its channels, ``relative_change_without`` and ``cosine_without`` them; ``change_share``,
        ``energy_share`` and ``channel_share``, its part of the squared change, of the squares of x and of all
        channels; ``token_jaccard``, of the tokens chosen with and without it; and ``entry_share``, its part of the
        chosen entries. Channels with NaN or infinity in one of two steps are left out there: ``nonfinite_channels``
        counts them.

    Raises:
        InputError: fewer than two steps, no sets, a share that is none, or what a source refuses.

    Examples:
        >>> changes = ds.passes.redundancy(cache, {"massive": massive, "random": ranking.random(6)})
        >>> cache.hidden().sizes["step"] - changes["relative_change"].sizes["step"]  # from each step to the next
        1
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep={keep}", "a share above 0 to 1", "Pass keep=0.3.")
    hidden = with_places(hidden_states(source, stream, site))
    if hidden.sizes["step"] < 2:
        raise InputError(
            f"{hidden.sizes['step']} step", "two or more, whose hidden states change", "Record more steps."
        )
    table = MemberTable(hidden, sets)
    shape = tuple(hidden.sizes[dim] - (dim == "step") for dim in PLACES)
    whole = {name: np.full(shape, np.nan) for name in ("relative_change", "cosine")}
    by_channel = np.full((*shape, hidden.sizes["channel"]), np.nan)
    by_set = {name: np.full((*table.shape, *shape), np.nan) for name in _PARTS}
    nonfinite = np.zeros((*shape, hidden.sizes["channel"]), bool)
    before: dict[tuple[int, ...], np.ndarray] = {}
    for tensor in each_tensor(hidden, "changes"):
        sample, step, branch, block = tensor.at
        earlier = before.get((sample, branch, block)) if step else None
        before[sample, branch, block] = tensor.values
        if earlier is None:
            continue
        at = (sample, step - 1, branch, block)
        change = _Change(earlier, tensor.values, keep)
        nonfinite[at] = ~change.finite
        whole["relative_change"][at], whole["cosine"][at] = change.of(change.finite)
        by_channel[at] = change.by_channel()
        for (selector, draw), member in table.at(tensor.at):
            for name, value in zip(_PARTS, change.of_set(member), strict=True):
                by_set[name][selector, draw, *at] = value
        if step == hidden.sizes["step"] - 1:
            del before[sample, branch, block]
    coords = {name: c for name, c in hidden.isel(step=slice(1, None)).coords.items() if "token" not in c.dims}
    result = xr.Dataset(
        {
            **{name: (PLACES, values) for name, values in whole.items()},
            "channel_change": ((*PLACES, "channel"), by_channel),
            **{name: (("selector", "draw", *PLACES), values) for name, values in by_set.items()},
            "nonfinite_channels": (PLACES, nonfinite.sum(-1)),
        },
        coords=coords | table.coords() | {"step_before": ("step", hidden["step"].values[:-1])},
        attrs={"stream": stream, "site": site, "keep": keep},
    )
    warn_left_out(result["channel_change"].copy(data=nonfinite), "left out where they are not finite")
    return result


class _Change:
    """From ``x`` to ``y``, both ``[token, channel]``; sums in float64 over tokens, by channel."""

    def __init__(self, x: np.ndarray, y: np.ndarray, keep: float) -> None:
        self.finite = np.isfinite(x).all(0) & np.isfinite(y).all(0)
        x, y = (np.where(self.finite, each, 0).astype(np.float64) for each in (x, y))
        self._size, self._scale = abs(y - x).sum(0), abs(x).sum(0)
        self._squares = (y - x) ** 2
        self._moved = self._squares.sum(0)
        self._energy, self._other, self._product = (x**2).sum(0), (y**2).sum(0), (x * y).sum(0)
        self._n_tokens = max(1, round(keep * len(x)))
        self._chosen = self._largest(self._squares.sum(1))
        entries = np.sort(self._squares[:, self.finite], axis=None)
        least = entries[-max(1, round(keep * entries.size))] if entries.size else np.inf
        # Entries as large as the last one that is chosen are chosen too: what is at a tie follows no order.
        self._entries = (self._squares >= least)[:, self.finite].sum(0)

    def by_channel(self) -> np.ndarray:
        """Change of each channel over its size, NaN where it is not finite or nothing."""
        return np.where(self.finite, ratio(self._size, self._scale), np.nan)

    def of(self, channels: np.ndarray) -> tuple[float, float]:
        """Relative change and cosine over some channels."""
        moved, energy, other, product = (
            each[channels].sum() for each in (self._moved, self._energy, self._other, self._product)
        )
        return float(np.sqrt(ratio(moved, energy))), float(ratio(product, np.sqrt(energy * other)))

    def of_set(self, member: np.ndarray) -> tuple[float, ...]:
        """The numbers of a set, in the order of ``_PARTS``."""
        own, rest = member & self.finite, ~member & self.finite
        (change_of, cosine_of), (change_without, cosine_without) = self.of(own), self.of(rest)
        without = self._largest(self._squares[:, rest].sum(1))
        shared = len(np.intersect1d(self._chosen, without))
        return (
            *(change_of, change_without, cosine_of, cosine_without),
            float(ratio(self._moved[own].sum(), self._moved.sum())),
            float(ratio(self._energy[own].sum(), self._energy.sum())),
            float(ratio(own.sum(), self.finite.sum())),
            shared / (2 * self._n_tokens - shared),
            float(ratio(self._entries[own[self.finite]].sum(), self._entries.sum())),
        )

    def _largest(self, by_token: np.ndarray) -> np.ndarray:
        """Tokens of the largest changes; of equal ones the first."""
        return np.argsort(-by_token, kind="stable")[: self._n_tokens]
