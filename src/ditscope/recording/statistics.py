"""Statistics over tokens, computed in float32 where the hidden state is, before anything is copied."""

from __future__ import annotations

import torch

STATISTICS: tuple[str, ...] = ("mean", "mean_abs", "std", "abs_max")
"""Recorded statistics; with ``count`` the first and third merge exactly (Chan et al. 1983)."""


def token_statistics(hidden: torch.Tensor, real: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Reduce a hidden state ``[row, token, channel]`` over its tokens.

    NaN and infinity are left out of the statistics and counted.

    Args:
        hidden: the hidden state.
        real: bool ``[row, token]``, False for padding, which is left out and not counted; None for no padding.

    Returns:
        float32 ``[row, channel]`` for each of :data:`STATISTICS` (``std`` divides by the number of tokens),
        int32 ``nonfinite`` ``[row, channel]`` and int32 ``count`` ``[row]``, the number of tokens.
    """
    values = hidden.detach().to(torch.float32)
    finite = torch.isfinite(values)
    rows, tokens, _ = values.shape
    if real is None and bool(finite.all()):
        std, mean = torch.std_mean(values, dim=1, correction=0)
        count = torch.full((rows,), tokens, dtype=torch.int32, device=values.device)
        nonfinite = torch.zeros_like(mean, dtype=torch.int32)
        return _pack(mean, values.abs().mean(dim=1), std, values.abs().amax(dim=1), nonfinite, count)
    real = torch.ones_like(finite[:, :, 0]) if real is None else real.to(values.device)
    used = finite & real[:, :, None]
    values = torch.where(used, values, 0.0)
    nonfinite = (~finite & real[:, :, None]).sum(dim=1, dtype=torch.int32)
    count = real.sum(dim=1, dtype=torch.int32)
    kept = (count[:, None] - nonfinite).clamp(min=1).to(torch.float32)
    mean = values.sum(dim=1) / kept
    spread = torch.where(used, values - mean[:, None], 0.0)
    std = (spread.square().sum(dim=1) / kept).sqrt()
    return _pack(mean, values.abs().sum(dim=1) / kept, std, values.abs().amax(dim=1), nonfinite, count)


def _pack(mean, mean_abs, std, abs_max, nonfinite, count) -> dict[str, torch.Tensor]:
    return {
        "mean": mean,
        "mean_abs": mean_abs,
        "std": std,
        "abs_max": abs_max,
        "nonfinite": nonfinite,
        "count": count,
    }
