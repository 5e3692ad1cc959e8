"""What rounding to a low-precision format costs hidden states, with and without massive channels kept apart.

A scheme whose scale is shared by many channels spends its range on the largest. Mixed schemes (MixDiT, arXiv
2504.08398) keep the channels of large magnitude in a wider format, so that the others have a scale of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.passes.iou import ratio
from ditscope.passes.number_formats import Scheme, rounded, scheme_of
from ditscope.passes.source import Source, hidden_states, warn_left_out
from ditscope.passes.tensors import PLACES, MemberTable, each_tensor, with_places

__all__ = ["quantization_error"]


def quantization_error(
    source: Source,
    sets: Mapping[str, ChannelSet],
    schemes: Iterable[str | Scheme] = ("int8 per tensor", "int8 per token", "int8 per channel", "mx9", "mx6"),
    *,
    apart: str | Scheme | None = None,
    stream: str = "image",
    site: str = "block_output",
) -> xr.Dataset:
    """Error of rounding hidden states, all channels together and with sets of channels kept apart.

    Scales are those of the tensor at hand, as if they were found in the run (dynamic), one image at a time.

    Args:
        source: a cache, or hidden states.
        sets: channel sets by name, the one under test first, then its controls. A set with one entry for each step or
            sample is found anew there; one for each block is static.
        schemes: names of :data:`ditscope.passes.SCHEMES`, or schemes.
        apart: the scheme of the channels that are kept apart; None for full precision.
        stream: ``image`` or ``text``.
        site: where in a block.

    Returns:
        ``relative_mse`` ``[kept, scheme, selector, draw, sample, step, branch, block]``, the sum of squared errors
        over that of squares, over tokens and channels; ``kept`` is ``together``, where all channels share scales, or
        ``apart``. ``rest_relative_mse``, the same over the channels outside of the set alone, which the size of the
        set's cannot hide. ``sqnr`` and ``rest_sqnr``, in dB, ``-10 log10`` of them. NaN past a set's draws, and where
        all is zero. Channels with NaN or infinity are left out where they have it: ``nonfinite_channels`` counts them.

    Raises:
        InputError: no sets, an unknown scheme, or what a source refuses.

    Examples:
        >>> sets = {"massive": massive, "random": ranking.random(6)}
        >>> error = ds.passes.quantization_error(cache.hidden().isel(step=[-1]), sets, ["int8 per tensor", "mx6"])
        >>> error["sqnr"].sel(kept="apart", selector="massive").dims
        ('scheme', 'draw', 'sample', 'step', 'branch', 'block')
    """
    chosen = [scheme_of(each) for each in checks.several(schemes)]
    wider = None if apart is None else scheme_of(apart)
    hidden = with_places(hidden_states(source, stream, site))
    table = MemberTable(hidden, sets)
    shape = (2, len(chosen), *table.shape, *hidden.shape[:4])
    whole, rest = np.full(shape, np.nan), np.full(shape, np.nan)
    nonfinite = np.zeros((*hidden.shape[:4], hidden.sizes["channel"]), bool)
    for tensor in each_tensor(hidden, "rounding"):
        finite = np.isfinite(tensor.values).all(0)
        nonfinite[tensor.at] = ~finite
        values = tensor.values[:, finite].astype(np.float64)
        energy = (values**2).sum(0)
        together = [_errors(values, scheme) for scheme in chosen]
        for key, member in table.at(tensor.at):
            own = member[finite]
            own_error = _errors(values[:, own], wider) if wider else np.zeros(own.sum())
            for number, scheme in enumerate(chosen):
                error = np.empty_like(energy)
                error[own], error[~own] = own_error, _errors(values[:, ~own], scheme)
                for kept, by_channel in enumerate((together[number], error)):
                    at = (kept, number, *key, *tensor.at)
                    whole[at] = ratio(by_channel.sum(), energy.sum())
                    rest[at] = ratio(by_channel[~own].sum(), energy[~own].sum())
    dims = ("kept", "scheme", "selector", "draw", *PLACES)
    coords = {name: c for name, c in hidden.coords.items() if not {"token", "channel"} & set(c.dims)}
    with np.errstate(divide="ignore"):
        result = xr.Dataset(
            {
                "relative_mse": (dims, whole),
                "rest_relative_mse": (dims, rest),
                "sqnr": (dims, -10 * np.log10(whole), {"unit": "dB"}),
                "rest_sqnr": (dims, -10 * np.log10(rest), {"unit": "dB"}),
                "nonfinite_channels": (PLACES, nonfinite.sum(-1)),
            },
            coords=coords
            | table.coords()
            | {"kept": ["together", "apart"], "scheme": [scheme.label for scheme in chosen]},
            attrs={
                "stream": stream,
                "site": site,
                "apart": "full precision" if wider is None else wider.label,
            },
        )
    by_channel = xr.DataArray(nonfinite, dims=(*PLACES, "channel"), coords={"channel": hidden["channel"]})
    warn_left_out(by_channel, "left out where they are not finite")
    return result


def _errors(values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Sums of squared errors over tokens, ``[channel]``, of values ``[token, channel]``."""
    if not values.size:
        return np.zeros(values.shape[1])
    return ((rounded(values, scheme) - values) ** 2).sum(0)
