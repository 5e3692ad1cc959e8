"""``transport_curve``: patches and transports at several strengths, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from ditscope.checks import finite_number, several
from ditscope.edits.patch import Patch
from ditscope.errors import InputError
from ditscope.experiments.compare import compare
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.seeds import Seed

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def transport_curve(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed] = 0,
    edits: Mapping[str, Patch] | None = None,
    alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    **comparison: Any,
) -> xr.Dataset:
    """Compare edits at several alphas: does an image move by and by, or at a threshold?

    Args:
        dit: the model.
        prompts: as of :func:`ditscope.experiments.compare.compare`.
        seeds: as of :func:`ditscope.experiments.compare.compare`.
        edits: name -> :func:`~ditscope.edits.patch.patch` or :func:`~ditscope.edits.transport.transport`; their own
            alpha is left aside.
        alphas: shares of the way to the source's values; below 0 and above 1 go beyond.
        **comparison: ``metrics``, ``clip``, ``batch_size``, ``resamples`` and pipeline arguments.

    Returns:
        What :func:`ditscope.experiments.compare.compare` returns, with coordinates ``curve`` and ``alpha`` along
        ``edit``, whose names are such as ``massive at 0.5``. The figure is ``plots.interpolation_curve``.

    Raises:
        InputError: no edits or alphas, or an edit that is no patch; or as of
            :func:`ditscope.experiments.compare.compare`.

    Examples:
        >>> source = ds.capture(dit, prompts[1], num_inference_steps=2)
        >>> edits = {"massive": ds.edits.patch(source, massive, sample=0)}
        >>> curve = ds.transport_curve(dit, prompts[0], 0, edits, [0.0, 1.0], metrics=["psnr"], num_inference_steps=2)
        >>> curve["alpha"].values.tolist()
        [0.0, 1.0]
    """
    levels = [finite_number("alphas", alpha) for alpha in several(alphas)]
    named = isinstance(edits, Mapping) and all(isinstance(edit, Patch) for edit in edits.values())
    if not edits or not levels or not named:
        raise InputError(
            f"edits {edits!r} at alphas {levels}",
            "a dict of name -> patch or transport, and one alpha or more",
            "Make them with ds.edits.patch or ds.edits.transport.",
        )
    places = [(name, alpha) for name in edits for alpha in levels]
    at = {f"{name} at {alpha:g}": replace(edits[name], alpha=alpha) for name, alpha in places}
    if len(at) < len(places):
        raise InputError(
            f"alphas {levels}", "alphas that differ in six digits", "Leave out what comes twice."
        )
    names, numbers = zip(*places, strict=True)
    result = compare(dit, prompts, seeds, at, **comparison)
    return result.assign_coords(curve=("edit", list(names)), alpha=("edit", list(numbers)))
