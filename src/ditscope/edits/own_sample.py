"""Which of several labelled samples belongs to a sample of a run."""

from __future__ import annotations

from typing import Any

import xarray as xr

from ditscope.errors import InputError


def own_sample(labelled: xr.DataArray | xr.Dataset, sample: tuple[Any, Any], position: int, what: str) -> int:
    """Where along ``sample`` what belongs to a run's sample is.

    It goes by prompt and seed where ``labelled`` has those, else by the sample's position in the run.

    Args:
        labelled: something with a dim ``sample``, perhaps with coordinates ``prompt`` and ``seed`` along it.
        sample: (prompt, seed) in the run.
        position: of the sample in the run.
        what: what is labelled, for the message.

    Raises:
        InputError: there is none for this sample, or several of that prompt and seed.
    """
    n_samples = labelled.sizes["sample"]
    if {"prompt", "seed"} <= set(labelled.coords):
        wanted = (str(sample[0]), sample[1])
        pairs = zip(labelled["prompt"].values.tolist(), labelled["seed"].values.tolist(), strict=True)
        found = [index for index, pair in enumerate(pairs) if pair == wanted]
        if len(found) != 1:
            raise InputError(
                f"{what} of {n_samples} samples, {len(found) or 'none'} of them of {wanted[0]!r} with seed {wanted[1]}",
                "one for each sample of the run",
                "Make them for these prompts and seeds, or drop the labels prompt and seed to go by position.",
            )
        return found[0]
    if position >= n_samples:
        raise InputError(
            f"{what} of {n_samples} samples in a run that has a sample {position}",
            "one for each sample of the run",
            "Pass one for each, in the order of prompts x seeds.",
        )
    return position
