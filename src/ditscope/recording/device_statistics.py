"""Statistics over tokens, computed in float32 where the hidden state is, before anything is moved."""

from __future__ import annotations

import torch

from ditscope.vocabulary import READ_STATISTICS


def token_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """Reduce a hidden state ``[row, token, channel]`` over its tokens, without waiting for the device.

    NaN and infinity are left out of the statistics and counted.

    Args:
        hidden: the hidden state.
        real: bool ``[row, token]``, False for padding, which is left out and not counted; None for no padding.

    Returns:
        float32 ``[row, statistic, channel]``, in the order of :data:`ditscope.vocabulary.READ_STATISTICS`:
        ``mean``, ``mean_abs``, ``std`` (divided by the number of values) and
        ``abs_max``, NaN for a channel without a finite value; ``nonfinite``, the number of values left out;
        ``count``, the number of tokens; and ``saturated``, the number of values at the limit of the hidden state's
        own dtype. With ``count`` and ``nonfinite``, ``mean`` and ``std`` merge exactly (Chan,
        Golub and LeVeque 1983).
    """
    values = hidden.detach().to(torch.float32)
    used, saturated = torch.isfinite(values), hidden.detach().abs() == torch.finfo(hidden.dtype).max
    if real is not None:
        real = real.to(values.device)[:, :, None]
        used, saturated = used & real, saturated & real
    n_used = used.sum(dim=1)
    count = torch.full_like(n_used, values.shape[1]) if real is None else real.sum(dim=1).expand_as(n_used)
    zeroed = torch.where(used, values, 0.0)
    rough_mean = zeroed.sum(dim=1) / n_used  # NaN, where nothing is finite
    size = zeroed.abs()
    mean_abs, abs_max = size.sum(dim=1) / n_used, torch.where(n_used > 0, size.amax(dim=1), torch.nan)
    # The mean in place of what is left out adds nothing to the spread, but to the number that it is divided by.
    std, mean = torch.std_mean(torch.where(used, values, rough_mean[:, None]), dim=1, correction=0)
    std = std * (values.shape[1] / n_used).sqrt()
    arrays = {
        "mean": mean,
        "mean_abs": mean_abs,
        "std": std,
        "abs_max": abs_max,
        "nonfinite": count - n_used,
        "count": count,
        "saturated": saturated.sum(dim=1),
    }
    return torch.stack([arrays[name] for name in READ_STATISTICS], dim=1)
