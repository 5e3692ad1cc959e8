"""Channels by rank: the top ones, and the controls of equal size."""

from __future__ import annotations

from typing import Any, Unpack

from ditscope.channels.channel_set import ChannelSet
from ditscope.controls._rank_source import RankBy, live_by, ranking_of
from ditscope.edits.ranked_channels import RankedChannels
from ditscope.errors import InputError
from ditscope.passes.ranking import Ranking
from ditscope.vocabulary import MODULATION


def top(k: int, source: Any = None, **by: Unpack[RankBy]) -> ChannelSet | RankedChannels:
    """The ``k`` channels of largest score: the massive ones. No control, unlike its siblings.

    Args:
        k: how many.
        source: a cache or a ranking to freeze them from; None to choose them live: for each image those that are on
            top where the edit acts, at its site, over its tokens, in each block, step and branch.
        **by: ``statistic``, ``stream``, and for a cache ``site`` and ``over``, as of
            :func:`ditscope.passes.rank_channels`.

    Raises:
        InputError: no whole number, an unknown statistic, stream or site, or how to rank beside a ranking.

    Examples:
        >>> ds.controls.top(6, cache) == ranking.top(6)
        True
        >>> ds.edits.zero(ds.controls.top(12), blocks="single").label
        "zero each image's own top 12 by mean_abs"
    """
    if source is not None:
        return ranking_of(source, by).top(k)
    return RankedChannels(which="top", k=k, control=False, **live_by(by))


def bottom(k: int, source: Any = None, **by: Unpack[RankBy]) -> ChannelSet | RankedChannels:
    """The ``k`` channels of smallest score, frozen or live; they have almost no energy. As :func:`top`.

    Examples:
        >>> ds.controls.bottom(6, cache).control
        True
    """
    if source is not None:
        return ranking_of(source, by).bottom(k)
    return RankedChannels(which="bottom", k=k, **live_by(by))


def middle(k: int, source: Any = None, **by: Unpack[RankBy]) -> ChannelSet | RankedChannels:
    """The ``k`` channels around the median score, frozen or live. As :func:`top`.

    Examples:
        >>> ds.controls.middle(6, cache).k
        6
    """
    if source is not None:
        return ranking_of(source, by).middle(k)
    return RankedChannels(which="middle", k=k, **live_by(by))


def window(start: int, stop: int, source: Any = None, **by: Unpack[RankBy]) -> ChannelSet | RankedChannels:
    """Ranks ``start`` to ``stop - 1``, 0 being the largest score, frozen or live. As :func:`top`.

    Examples:
        >>> ds.controls.window(6, 12, cache).k
        6
    """
    if source is not None:
        return ranking_of(source, by).window(start, stop)
    return RankedChannels(which="window", k=stop - start, start=start, **live_by(by))


def std_ranked(k: int, source: Any = None, **by: Unpack[RankBy]) -> ChannelSet | RankedChannels:
    """The ``k`` channels that vary most over tokens, frozen or live. As :func:`top`, which it is by ``std``.

    Do massive channels matter because they are massive, or because they vary?

    Raises:
        InputError: a ranking by something else than ``std``, or another statistic.

    Examples:
        >>> ds.passes.jaccard(massive, ds.controls.std_ranked(6, cache)).dims
        ('block',)
    """
    statistic = by.get("statistic", "std")
    if statistic != "std":
        raise InputError(
            f"std_ranked by {statistic}", "std", "Take ds.controls.top, or leave statistic= out."
        )
    if not isinstance(source, Ranking):
        by["statistic"] = "std"
    elif source.statistic != "std":
        raise InputError(f"a ranking by {source.statistic}", "one by std", "Pass the cache instead.")
    return top(k, source, **by)


def gate_spikes(k: int, source: Any, *, site: str = "attn_gate", stream: str = "image") -> ChannelSet:
    """The ``k`` channels of largest absolute AdaLN gate, frozen from a cache that recorded modulation.

    Massive channels are said to be those where the gate spikes (Gan et al., arXiv 2510.11538). They cannot be chosen
    live: a gate is gone when a block's output is there.

    Args:
        k: how many.
        source: a cache with ``site``.
        site: ``attn_gate``, ``mlp_gate``, or other modulation.
        stream: ``image`` or ``text``.

    Raises:
        InputError: no modulation, or what :func:`ditscope.passes.rank_channels` refuses.

    Examples:
        >>> gates = ds.capture(dit, prompts[:2], sites=["attn_gate"], num_inference_steps=2)
        >>> ds.passes.jaccard(massive, ds.controls.gate_spikes(6, gates)).dims
        ('block',)
    """
    if site not in MODULATION:
        raise InputError(f"site {site!r}", f"one of {', '.join(MODULATION)}", "Pass site='mlp_gate', say.")
    chosen = ranking_of(source, {"site": site, "stream": stream}).top(k)
    return ChannelSet(chosen.ids, stream, f"top {k} by |{site}|")
