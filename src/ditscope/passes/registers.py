"""Are massive channels massive at all tokens, or at a few high-norm tokens that act as registers?

The norm of a token has the massive channels in it, so that tokens found by their whole norm are those where massive
channels are large, whatever else is true. Here the norm is taken without them.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.errors import InputError
from ditscope.passes.source import Source, hidden_states
from ditscope.passes.token_statistics import chunked

__all__ = ["registers"]

RATIO, MOST, MASSIVE = 3.0, 8, 3.0


def registers(
    source: Source,
    massive: ChannelSet,
    *,
    ratio: float = RATIO,
    most: int | None = MOST,
    massive_ratio: float = MASSIVE,
    excise: bool = True,
    stream: str = "image",
    site: str = "block_output",
) -> xr.Dataset:
    """A census of high-norm tokens, and how massive channels are at these and at the others, lazily.

    A token's norm is that of its hidden state without the massive channels. An outlier has a norm above ``ratio``
    medians of its stream, and is among the ``most`` largest. A token's massive score is the mean of abs(x) over the
    massive channels.

    Args:
        source: a cache or hidden states ``[..., token, channel]``; padding is left out by ``token_mask``.
        massive: the massive channels, one draw.
        ratio: how many medians an outlier's norm is above.
        most: outliers of one state at most; None for no bound.
        massive_ratio: how many times the mean of abs(x) over a token's other channels its massive score is above,
            where the channels count as massive at that token.
        excise: False leaves the massive channels in the norm: what the census would find by the circular way.
        stream: ``image`` or ``text``.
        site: where in a block.

    Returns:
        All ``[sample, step, branch, block]``: ``outliers``, their number, and ``outlier_share`` of the tokens;
        ``selectivity``, the median massive score of outliers over that of typical tokens; ``elevation``, the median
        norm without massive channels of outliers over that of typical tokens; both NaN without outliers;
        ``massive_share``, the share of tokens at which the channels are massive (1 for all tokens); ``spread``, the
        standard deviation of massive scores over their mean. And ``outlier`` ``[..., token]``. Nothing is read
        until it is computed, and then chunk by chunk.

    Raises:
        InputError: a set with several draws, of another stream, of no block or of channels that are not there, or that
            leaves no channel; a threshold that is not positive.

    Examples:
        >>> census = ds.passes.registers(cache, massive)
        >>> census["outliers"].dims
        ('sample', 'step', 'branch', 'block')
    """
    for name, value in (("ratio", ratio), ("massive_ratio", massive_ratio)):
        if checks.finite_number(name, value) <= 0:
            raise InputError(f"{name}={value}", "a number above 0", "Pass 3.")
    if most is not None:
        checks.whole_number("most", most)
    hidden = chunked(hidden_states(source, stream, site)).chunk({"channel": -1})
    member = membership(massive, hidden)
    inputs = [hidden, member]
    core: list[list[str]] = [["token", "channel"], ["channel"]]
    if "token_mask" in hidden.coords:
        inputs.append(hidden["token_mask"].astype(bool).reset_coords(drop=True))
        core.append(["token"])
    numbers, outlier = xr.apply_ufunc(
        _census,
        *inputs,
        input_core_dims=core,
        output_core_dims=[["measure"], ["token"]],
        kwargs={"ratio": ratio, "most": most, "massive_ratio": massive_ratio, "excise": excise},
        dask="parallelized",
        output_dtypes=[np.float64, bool],
        dask_gufunc_kwargs={"output_sizes": {"measure": len(_MEASURES)}},
    )
    found = {name: numbers.isel(measure=at) for at, name in enumerate(_MEASURES)}
    attrs = {"ratio": ratio, "most": most or 0, "massive_ratio": massive_ratio, "excised": int(excise)}
    return xr.Dataset(
        {**found, "outlier": outlier},
        attrs={"stream": stream, "site": site, "channels": massive.label, **attrs},
    )


def membership(channels: ChannelSet, hidden: xr.DataArray) -> xr.DataArray:
    """Whether each channel is in the set, bool ``[*kept, channel]``, for the labels that hidden states have.

    Raises:
        InputError: a set with several draws, of another stream, or without a block or a channel that is there.
    """
    stream = hidden.attrs.get("stream", channels.stream)
    if channels.draws > 1 or channels.stream != stream:
        raise InputError(
            f"a set of {channels.draws} draws of the {channels.stream} stream",
            f"one draw of the {stream} stream",
            "Take .draw(0) of it, or rank that stream.",
        )
    ids = channels.draw(0).ids
    for dim in [dim for dim in ids.dims if dim != "rank"]:
        wanted = hidden[dim].values if dim in hidden.coords else np.array([])
        if not wanted.size or not np.isin(wanted, ids[dim].values).all():
            raise InputError(
                f"a set for {dim} {ids[dim].values.tolist()}",
                f"one for each {dim} of the hidden states",
                f"Rank these, or rank over {dim}.",
            )
        ids = ids.sel({dim: wanted})
    own = hidden["channel"].values
    if not np.isin(ids.values, [*own, PADDING]).all():
        raise InputError(
            "a set with channels that are not there", "channels of the hidden states", "Read all channels."
        )
    member = (ids == xr.DataArray(own, dims="channel")).any("rank")
    if bool(member.all("channel").any()):
        raise InputError("a set of every channel", "a set that leaves some", "Pass a smaller set.")
    return member.reset_coords(drop=True)


_MEASURES = ("outliers", "outlier_share", "selectivity", "elevation", "massive_share", "spread")


def _census(
    hidden: np.ndarray,
    member: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    ratio: float,
    most: int | None,
    massive_ratio: float,
    excise: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """States ``[..., token, channel]``, sets ``[..., channel]`` -> measures ``[..., measure]``, ``[..., token]``."""
    lead = hidden.shape[:-2]
    member = np.broadcast_to(member, (*lead, hidden.shape[-1]))
    numbers, outlier = np.full((*lead, len(_MEASURES)), np.nan), np.zeros(hidden.shape[:-1], bool)
    for at in np.ndindex(lead):
        real = (
            np.ones(hidden.shape[-2], bool) if mask is None else np.broadcast_to(mask, hidden.shape[:-1])[at]
        )
        numbers[at], outlier[at][real] = _one(
            hidden[at][real].astype(np.float64), member[at], ratio, most, massive_ratio, excise
        )
    return numbers, outlier


def _one(
    states: np.ndarray, member: np.ndarray, ratio: float, most: int | None, massive_ratio: float, excise: bool
) -> tuple[list[float], np.ndarray]:
    """Of one state ``[token, channel]``."""
    outlier = np.zeros(len(states), bool)
    if not np.isfinite(states).all() or not len(states):
        return [np.nan] * len(_MEASURES), outlier
    own, others = abs(states[:, member]), abs(states[:, ~member])
    norm = np.linalg.norm(others if excise else states, axis=1)
    score, rest = own.mean(1), others.mean(1)
    leading = np.argsort(-norm, kind="stable")[:most]
    outlier[leading] = norm[leading] > ratio * np.median(norm)
    selectivity = elevation = np.nan
    if outlier.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            selectivity, elevation = (np.median(v[outlier]) / np.median(v[~outlier]) for v in (score, norm))
            # By definition the excised ratio, whatever the census went by.
            if not excise:
                excised = np.linalg.norm(others, axis=1)
                elevation = np.median(excised[outlier]) / np.median(excised[~outlier])
    massive_share = (score > massive_ratio * rest).mean()
    spread = score.std() / score.mean() if score.mean() else np.nan
    return [outlier.sum(), outlier.mean(), selectivity, elevation, massive_share, spread], outlier
