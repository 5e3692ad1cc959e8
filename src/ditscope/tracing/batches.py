"""Samples in batches: which are generated together, with which arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ditscope import checks
from ditscope.checks import several
from ditscope.errors import InputError
from ditscope.tracing.samples import pair_samples

_TEXT = re.compile(r"(negative_)?prompt(_\d+)?")
"""Arguments that a pipeline takes for each prompt: ``prompt_2``, ``negative_prompt``, ``negative_prompt_2``, ..."""


@dataclass(frozen=True)
class Batch:
    """Samples that are generated together.

    Attributes:
        positions: of the samples, among all of them.
        samples: (prompt, seed) of each.
        call: pipeline arguments, with one text for each sample where a text may be given for each.
    """

    positions: range
    samples: list[tuple[str, int]]
    call: dict[str, Any]


def batches_of(prompts: Any, seeds: Any, batch_size: int, call: Mapping[str, Any]) -> list[Batch]:
    """Every prompt with every seed, prompt-major, cut into batches.

    Args:
        prompts: one or several.
        seeds: one or several.
        batch_size: images generated together; the last batch may be smaller.
        call: pipeline arguments; texts as of :func:`batch_call`.

    Raises:
        InputError: a prompt, a seed or the batch size cannot be used, or a list of texts has another length.
    """
    prompts, size = checks.prompts(prompts), checks.whole_number("batch_size", batch_size)
    samples = pair_samples(prompts, checks.seeds(seeds))
    cut = [range(len(samples))[start : start + size] for start in range(0, len(samples), size)]
    return [
        Batch(
            positions,
            [samples[position] for position in positions],
            batch_call(call, positions, len(prompts), len(samples)),
        )
        for positions in cut
    ]


def batch_call(
    call: Mapping[str, Any], batch: Sequence[int], n_prompts: int, n_samples: int
) -> dict[str, Any]:
    """A call's arguments with one text for each image of a batch.

    Args:
        call: pipeline arguments. A text is for all samples; a list of texts has one for each prompt or each sample.
        batch: positions of the samples that are generated together.
        n_prompts: number of prompts of the recording.
        n_samples: number of samples: prompts x seeds, prompt-major.

    Raises:
        InputError: a list has another length.
    """
    own = dict(call)
    for name in filter(_TEXT.fullmatch, call):
        if call[name] is None:
            continue
        texts = several(call[name])
        if len(texts) not in (1, n_prompts, n_samples):
            raise InputError(
                f"{len(texts)} texts as {name} for {n_prompts} prompts and {n_samples} samples",
                "one text, or a list with one for each prompt or for each sample",
                f"Pass {name}='' for all, say.",
            )
        own[name] = [texts[sample * len(texts) // n_samples] for sample in batch]
    return own
