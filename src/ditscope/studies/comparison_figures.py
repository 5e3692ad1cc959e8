"""What claims keep and draw of a comparison of edits: the effect of each, and the first images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr
from matplotlib.figure import Figure

from ditscope import plots

if TYPE_CHECKING:
    from ditscope.studies.claim import Claim
    from ditscope.studies.study import Result

__all__ = ["comparison_arrays", "comparison_figures"]

_IMAGES = ["images", "baseline_images"]
_SHOWN = 5


def comparison_arrays(compared: xr.Dataset) -> dict[str, xr.Dataset]:
    """What is kept of a comparison: ``comparison``, which has no images, and ``images``, those of the first samples."""
    return {
        "comparison": compared.drop_vars(_IMAGES).load(),
        "images": compared[_IMAGES].isel(sample=slice(0, _SHOWN)).load(),
    }


def comparison_figures(
    claim: Claim,
    result: Result,
    *,
    effects: str = "Effect of each edit with intervals over prompts, and the energy that it removed.",
    images: str = "The first tested prompts under each edit.",
    metrics: Sequence[str] | None = None,
    title: str | None = None,
) -> Mapping[str, tuple[Figure, str]]:
    """Figures ``effects`` and ``images`` of a result that keeps :func:`comparison_arrays`, each with its caption.

    Args:
        claim: with its settings.
        result: of it.
        effects: caption.
        images: caption.
        metrics: those drawn of the effects; all by default.
        title: of the effects.
    """
    about = {"model": claim.model, "k": claim.k}
    compared = result.arrays["comparison"]
    compared = compared if metrics is None else compared.sel(metric=list(metrics))
    grid = plots.image_grid(result.arrays["images"], title="The same prompts and seeds", about=about)
    return {
        "effects": (plots.ablation(compared, title=title, about=about), effects),
        "images": (grid, images),
    }
