"""Statistics over tokens, computed in float32 where the hidden state is, before anything is moved."""

from __future__ import annotations

from itertools import repeat

import torch

from ditscope.vocabulary import READ_STATISTICS

_SAFE = 2.0**50
"""Values below it have squares whose sum over 2**24 tokens, the most that there may be, is finite in float32."""

_TOGETHER = {"cpu": 2**17}
"""Values that are reduced together: as many as a processor's cache holds with what is made of them."""


def token_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """Reduce a hidden state ``[row, token, channel]`` over its tokens; it looks once whether all is finite.

    NaN and infinity are left out of the statistics and counted. A row's numbers are the same whatever the others.
    Who does not want to wait for the look takes :func:`quick_statistics`, and looks by :func:`need_care` later.

    Args:
        hidden: the hidden state, of any number of blocks and samples in its rows.
        real: bool ``[row, token]``, False for padding, which is left out and not counted; None for no padding.

    Returns:
        float32 ``[row, statistic, channel]``, in the order of :data:`ditscope.vocabulary.READ_STATISTICS`:
        ``mean``, ``mean_abs``, ``std`` (divided by the number of values) and
        ``abs_max``, NaN for a channel without a finite value; ``nonfinite``, the number of values left out;
        ``count``, the number of tokens; and ``saturated``, the number of values at the limit of the hidden state's
        own dtype. With ``count`` and ``nonfinite``, ``mean`` and ``std`` merge exactly (Chan,
        Golub and LeVeque 1983).
    """
    reduced = quick_statistics(hidden, real)
    odd = need_care(reduced, hidden.dtype)
    if odd.any():
        reduced[odd] = _reduced_with_care(
            hidden.detach()[odd], None if real is None else real.to(odd.device)[odd]
        )
    return reduced


def quick_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """The same without a look, which holds for the rows that do not :func:`need_care`."""
    n_rows = max(1, _TOGETHER.get(hidden.device.type, 2**25) // hidden[0].numel())
    masks = repeat(None) if real is None else real.to(hidden.device).split(n_rows)
    return torch.cat([_reduced(*rows) for rows in zip(hidden.detach().split(n_rows), masks, strict=False)])


def need_care(reduced: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows of hidden states of a dtype of which quick statistics ``[row, statistic, channel]`` do not hold.

    They are those with values that are not finite, at their dtype's limit, or too large to be squared.
    """
    # A maximum is NaN as soon as one value is.
    abs_max = reduced[:, READ_STATISTICS.index("abs_max")]
    return ~(abs_max < min(_SAFE, torch.finfo(dtype).max)).all(dim=1)


def _reduced(hidden: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    values = hidden.to(torch.float32)
    padding = None if real is None else ~real[:, :, None]

    def total(each: torch.Tensor) -> torch.Tensor:
        return (each if padding is None else each.masked_fill_(padding, 0.0)).sum(dim=1)

    scratch = values.abs()
    size, abs_max = total(scratch), scratch.amax(dim=1)
    count = torch.full_like(abs_max, values.shape[1]) if real is None else real.sum(dim=1, keepdim=True)
    mean = (values.sum(dim=1) if padding is None else values.masked_fill(padding, 0.0).sum(dim=1)) / count
    # A rounded mean is corrected by what is left over, so that a far one does not drown the spread.
    off = torch.sub(values, mean[:, None], out=scratch)
    left_over = total(off) / count
    variance = total(off.square_()) / count - left_over.square_()
    return _stacked(
        mean=mean,  # NaN, where all is padding
        mean_abs=size / count,
        std=variance.clamp_min_(0).sqrt_(),
        abs_max=abs_max if padding is None else torch.where(count > 0, abs_max, torch.nan),
        nonfinite=torch.zeros_like(abs_max),
        count=count.expand_as(abs_max),
        saturated=torch.zeros_like(abs_max),
    )


def _reduced_with_care(hidden: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """The same of any rows."""
    values = hidden.to(torch.float32)
    used, saturated = torch.isfinite(values), hidden.abs() == torch.finfo(hidden.dtype).max
    if real is not None:
        used, saturated = used & real[:, :, None], saturated & real[:, :, None]
    n_used = used.sum(dim=1)
    count = torch.full_like(n_used, values.shape[1]) if real is None else real.sum(dim=1, keepdim=True)
    zeroed = torch.where(used, values, 0.0)
    rough_mean = zeroed.sum(dim=1) / n_used  # NaN, where nothing is finite
    size = zeroed.abs()
    # The mean in place of what is left out adds nothing to the spread, but to the number that it is divided by.
    std, mean = torch.std_mean(torch.where(used, values, rough_mean[:, None]), dim=1, correction=0)
    return _stacked(
        mean=mean,
        mean_abs=size.sum(dim=1) / n_used,
        std=std * (values.shape[1] / n_used).sqrt(),
        abs_max=torch.where(n_used > 0, size.amax(dim=1), torch.nan),
        nonfinite=count - n_used,
        count=count.expand_as(n_used),
        saturated=saturated.sum(dim=1),
    )


def _stacked(**arrays: torch.Tensor) -> torch.Tensor:
    return torch.stack([arrays[name] for name in READ_STATISTICS], dim=1)
