"""Images of prompts and seeds, under the guidance of the ``with`` block that they are generated in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.models.run_state import GUIDANCE
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.run import LATENT, check_call, run_traced, warn_of_truncated
from ditscope.tracing.seeds import Seed

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def generate_images(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed] = 0,
    *,
    batch_size: int = 1,
    **call: Any,
) -> xr.DataArray:
    """Generate every prompt with every seed, under the guidance of the ``with`` block around it, if there is one.

    Args:
        dit: the model.
        prompts: one or several.
        seeds: one or several.
        batch_size: images generated together.
        **call: further arguments of the pipeline.

    Returns:
        uint8 ``[sample, y_pixel, x_pixel, rgb]``, prompt-major, with coordinates ``prompt`` and ``seed``; the
        attribute ``guidance`` is the guidance's JSON form.

    Raises:
        InputError: before the first run, for anything that cannot be used.
        EditError: the guidance's degraded branch is none, as its edits never fire.

    Warns:
        UserWarning: prompts were cut in every text encoder.
    """
    check_call(dit, call)
    if call.get("output_type") == LATENT:
        raise InputError(f"output_type={LATENT!r}", "images", "Leave output_type out.")
    batches = batches_of(prompts, seeds, batch_size, call)
    samples = [sample for batch in batches for sample in batch.samples]
    guidance = GUIDANCE.get()
    taken = GUIDANCE.set(None)
    try:
        if guidance is not None:
            looked = probe(dit, batches[0].samples, **batches[0].call)
            steps = looked.schedule.steps
            guidance.visitor(dit, steps).check(looked, [batch.samples for batch in batches])
        images, cut = [], []
        for batch in batches:
            visitor = None
            if guidance is not None:
                visitor = guidance.visitor(dit, steps, positions=batch.positions, samples=batch.samples)
            outcome = run_traced(dit, batch.samples, visitor, **batch.call)
            if visitor is not None:
                visitor.require_fired()
            images.append(outcome.images)
            cut += [text is not None and text.truncated for text in outcome.texts]
    finally:
        GUIDANCE.reset(taken)
    warn_of_truncated(str(prompt) for (prompt, _), is_cut in zip(samples, cut, strict=True) if is_cut)
    return xr.DataArray(
        np.concatenate(images),
        dims=("sample", "y_pixel", "x_pixel", "rgb"),
        coords={
            "prompt": ("sample", [str(prompt) for prompt, _ in samples]),
            "seed": ("sample", [int(seed) for _, seed in samples]),
        },
        attrs={"model": dit.name}
        | ({} if guidance is None else {"guidance": json.dumps(guidance.to_json())}),
    )
