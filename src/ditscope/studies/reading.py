"""What claims read of a comparison: a table of its effects, and how much of the prompt's meaning an edit takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.studies.claim import Finding

if TYPE_CHECKING:
    from ditscope.studies.claim import Claim

__all__ = [
    "effect_of",
    "effects_table",
    "judge_finding",
    "match_finding",
    "meaning_change",
    "meaning_metrics",
    "relative_change",
]

_ATTRIBUTES = ("shape_right", "colour_right", "size_right", "place_right", "background_right")


_NEAR = (0.8, 1.25)  # a match, as a share of what was to be matched


def effect_of(compared: xr.Dataset, metric: str, edit: str | None = None) -> xr.DataArray:
    """Effects ``[..., sample]`` of what compare or sweep returned on one metric, draws averaged, with ``prompt``.

    A PSNR above 60 dB, infinite where nothing changed, counts as 60 in each draw.
    """
    effect = compared["effect"].sel(metric=metric, drop=True)
    effect = (effect.clip(max=60.0) if metric == "psnr" else effect).mean("draw")
    effect = effect if edit is None else effect.sel(edit=edit, drop=True)
    return effect.drop_vars([n for n in effect.coords if n not in (*effect.dims, "prompt", "seed")])


def meaning_metrics(claim: Claim) -> tuple[str, ...]:
    """Metrics that say whether an image shows what its prompt says: the oracle's answers on an embedded model (all but
    the texture, which is detail), elsewhere the CLIP score.
    """
    return _ATTRIBUTES if claim.embedded else ("clip_score",)


def meaning_change(compared: xr.Dataset, edit: str | None = None) -> xr.DataArray:
    """Change of what is shown of the prompt ``[..., sample]``: of the share of right attributes, or else of the CLIP
    score, as a share of the unedited image's; 0 for no change.

    Args:
        compared: what compare or sweep returned on :func:`meaning_metrics`.
        edit: one; all by default.
    """
    names = [name for name in _ATTRIBUTES if name in compared["metric"].values]
    if not names:
        return relative_change(compared, "clip_score", edit)
    return sum(effect_of(compared, name, edit) for name in names) / len(names)  # type: ignore[return-value]


def relative_change(compared: xr.Dataset, metric: str, edit: str | None = None) -> xr.DataArray:
    """Effect on a metric that judges one image, as a share of the unedited image's own score ``[..., sample]``."""
    own = compared["baseline_value"].sel(metric=metric, drop=True)
    return effect_of(compared, metric, edit) / own.drop_vars([n for n in own.coords if n != "sample"])


def log_ratio(compared: xr.Dataset, metric: str) -> xr.DataArray:
    """Log to base 2 of an edited image's score over the unedited one's own ``[..., edit, sample]``: a score near 0
    for some images has no sensible change as a share.
    """
    value, own = (compared[name].sel(metric=metric, drop=True) for name in ("value", "baseline_value"))
    found = cast(xr.DataArray, np.log2(value / own)).mean("draw")
    return found.drop_vars([name for name in found.coords if name not in (*found.dims, "prompt", "seed")])


def effects_table(compared: xr.Dataset) -> pd.DataFrame:
    """Effects by metric, cell and edit, with intervals that hold for all edits of a metric, and the energy removed."""
    names = {"mean": "mean", "simultaneous_low": "low", "simultaneous_high": "high"}
    found = compared[[*names, "energy_removed", "energy_moved"]].rename(names)
    plain = found.drop_vars([name for name in found.coords if name not in found.dims])
    return plain.to_dataframe().reset_index().round(5)


def judge_finding(claim: Claim, compared: xr.Dataset) -> Finding:
    """Whether what says the meaning can be trusted: on an embedded model it should find unedited images right."""
    if not claim.embedded:
        return Finding("Nothing says here what an image shows but the CLIP score.", None)
    right = float(compared["baseline_value"].sel(metric=list(_ATTRIBUTES)).mean())
    return Finding(
        f"Of {compared.sizes['sample']} unedited images the oracle finds {100 * right:.0f} % of attributes as the "
        "caption says.",
        right > 0.9,
    )


def match_finding(compared: xr.Dataset, edit: str) -> Finding:
    """Whether a matched control reached what it was to match: over images in the middle, and in most of them."""
    reached = compared["match_ratio"].sel(edit=edit).values
    reached = reached[np.isfinite(reached)]  # draws that it does not have, and samples in which nothing fired
    if not reached.size:
        return Finding(
            f"Of the control '{edit}' it is not known what it reached of what it was to match.", None
        )
    middle, near = np.median(reached), ((reached > _NEAR[0]) & (reached < _NEAR[1])).mean()
    return Finding(
        f"The control '{edit}' changed {100 * middle:.0f} % of what it was to match, in the median over images, and "
        f"{100 * _NEAR[0]:.0f} to {100 * _NEAR[1]:.0f} % in {100 * near:.0f} % of them; in the mean "
        f"{100 * reached.mean():.0f} %.",
        bool(_NEAR[0] < middle < _NEAR[1] and near > 0.5),
    )
