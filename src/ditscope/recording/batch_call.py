"""The arguments of one batch's call: texts that are given for each prompt or sample follow the batch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ditscope.checks import several
from ditscope.errors import InputError

_TEXT = re.compile(r"(negative_)?prompt(_\d+)?")
"""Arguments that a pipeline takes for each prompt: ``prompt_2``, ``negative_prompt``, ``negative_prompt_2``, ..."""


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
