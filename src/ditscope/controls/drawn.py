"""Channels at random, of equal size or matched on a recording."""

from __future__ import annotations

from typing import Any, Unpack

from ditscope.channels.channel_set import ChannelSet
from ditscope.controls._rank_source import RankBy, live_by, ranking_of
from ditscope.edits.drawn_channels import RandomChannels


def random(
    k: int,
    source: Any = None,
    *,
    draws: int = 1,
    seed: int = 0,
    per: str = "run",
    **by: Unpack[RankBy],
) -> ChannelSet | RandomChannels:
    """``k`` channels at random.

    Args:
        k: how many.
        source: a cache or a ranking, of whose channels they are drawn once, the same for all images; None to draw
            live: each image has its own, which follow from the seed and the sample alone.
        draws: number of sets.
        seed: of the draw, from 0.
        per: for live ones: ``run`` for the same channels all the time, ``step`` or ``place`` for new ones in every step
            or at every place, which touch many more channels in all.
        **by: as of :func:`ditscope.controls.top`.

    Raises:
        InputError: no whole number, an unknown ``per``, or as of :func:`ditscope.controls.top`.

    Examples:
        >>> ds.controls.random(6, cache, draws=3).draws
        3
        >>> live = ds.edits.zero(ds.controls.random(6, draws=3), blocks="single.1")
    """
    if source is not None:
        return ranking_of(source, by).random(k, draws, seed)
    return RandomChannels(k=k, seed=seed, per=per, count=draws, **live_by(by))


def energy_matched(
    channels: ChannelSet, source: Any, *, draws: int = 1, seed: int = 0, **by: Unpack[RankBy]
) -> ChannelSet:
    """Random channels of the energy that a set has on a recording, as of ``Ranking.energy_matched``.

    Its ``match_ratio`` says what was reached in each block; that of a comparison is the mean over the places in which
    the edit fired.

    Examples:
        >>> ds.controls.energy_matched(massive, cache, draws=3).match_ratio.dims
        ('block', 'draw')
    """
    return ranking_of(source, by).energy_matched(channels, draws, seed)


def magnitude_matched(
    channels: ChannelSet, source: Any, *, draws: int = 1, seed: int = 0, **by: Unpack[RankBy]
) -> ChannelSet:
    """Random channels of the summed ``mean_abs`` of a set on a recording, as of ``Ranking.magnitude_matched``.

    Examples:
        >>> ds.controls.magnitude_matched(massive, cache).match_ratio.dims
        ('block', 'draw')
    """
    return ranking_of(source, by).magnitude_matched(channels, draws, seed)
