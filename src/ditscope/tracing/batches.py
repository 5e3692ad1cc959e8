"""Samples in batches: which are generated together, with which arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch

from ditscope import checks
from ditscope.checks import several
from ditscope.errors import InputError
from ditscope.tracing.prompt_embeds import Prompt, prompts_of, require_one_shape
from ditscope.tracing.samples import pair_samples
from ditscope.tracing.seeds import seeds_of

Batches: TypeAlias = Sequence[Sequence[tuple[Any, Any]]]
"""(prompt, seed) of the samples of each batch, in the order of the run."""

_TENSORS = (torch.Tensor, np.ndarray)
_IMAGES = (*_TENSORS, PIL.Image.Image)
_TEXT = re.compile(r"(negative_)?prompt(_\d+)?")
"""Arguments that a pipeline takes for each prompt: ``prompt_2``, ``negative_prompt``, ``negative_prompt_2``, ..."""


@dataclass(frozen=True)
class Batch:
    """Samples that are generated together.

    Attributes:
        positions: of the samples, among all of them.
        samples: (prompt, seed) of each.
        call: pipeline arguments, with one text or row for each sample where there may be one for each.
    """

    positions: range
    samples: list[tuple[Prompt, int]]
    call: dict[str, Any]

    def repeated(self, copies: int) -> Batch:
        """The same samples several times over, one copy of them all after the other."""
        call = dict(self.call)
        for name, value in call.items():
            if _TEXT.fullmatch(name) and isinstance(value, list):
                call[name] = value * copies
            elif _has_rows(name, value):
                call[name] = value[[*range(len(value))] * copies]
        return Batch(self.positions, self.samples * copies, call)


def batches_of(prompts: Any, seeds: Any, batch_size: int, call: Mapping[str, Any]) -> list[Batch]:
    """Every prompt with every seed, prompt-major, cut into batches.

    Args:
        prompts: one or several, all texts or all :class:`~ditscope.tracing.prompt_embeds.PromptEmbeds`.
        seeds: one or several, or generators.
        batch_size: images generated together; the last batch may be smaller.
        call: pipeline arguments; texts and tensors as of :func:`batch_call`.

    Raises:
        InputError: a prompt, a seed or the batch size cannot be used, or a list of texts or a tensor does not fit
            the samples.
    """
    prompts, size = prompts_of(prompts), checks.whole_number("batch_size", batch_size)
    samples = pair_samples(prompts, seeds_of(seeds))
    cut = [range(len(samples))[start : start + size] for start in range(0, len(samples), size)]
    for positions in cut:
        require_one_shape([samples[position][0] for position in positions])
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
    """A call's arguments with one text, and one row of a tensor, for each image of a batch.

    Args:
        call: pipeline arguments. A text is for all samples; a list of texts has one for each prompt or each sample.
            So have the rows of a tensor or array; an image without rows, a schedule, what is inside a dict and the
            inputs of IP-Adapters are for all.
        batch: positions of the samples that are generated together.
        n_prompts: number of prompts of the recording.
        n_samples: number of samples: prompts x seeds, prompt-major.

    Raises:
        InputError: a list of texts or a tensor has another length, or it cannot be told whose a row or an image is.
    """
    own = dict(call)

    def chosen(name: str, kind: str, given: Any) -> list[int]:
        """Which of the given texts or rows each sample of the batch has."""
        if len(given) not in (1, n_prompts, n_samples):
            raise InputError(
                f"{len(given)} {kind} as {name} for {n_prompts} prompts and {n_samples} samples",
                f"one of the {kind} for all, or one for each prompt or for each sample",
                f"Pass {name}= with as many, or leave it out.",
            )
        return [sample * len(given) // n_samples for sample in batch]

    for name, value in call.items():
        if _TEXT.fullmatch(name) and value is not None:
            texts = several(value)
            own[name] = [texts[position] for position in chosen(name, "texts", texts)]
        elif _has_rows(name, value):
            own[name] = value[chosen(name, "rows", value)]
            if name == "latents" and len(value) < n_samples > n_prompts:
                raise InputError(
                    f"{len(value)} rows as latents for {n_samples} samples of {n_samples // n_prompts} seeds",
                    "a row for each sample, since latents take the place of the seed's noise",
                    "Pass a row for each sample, or a single seed as a label.",
                )
        elif not _is_shared(name) and _is_unclear(value, len(batch), n_samples):
            raise InputError(
                f"{name} with several images or rows of a tensor, for {n_samples} samples, {len(batch)} in a batch",
                "what is for all samples, or one for each of a single batch",
                "Generate the samples apart, with batch_size=1.",
            )
    return own


def own_arguments(
    call: Mapping[str, Any], n_prompts: int, n_samples: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A call's arguments apart: those that are the same for all samples, and those that are each sample's own.

    Args:
        call: pipeline arguments, as of :func:`batch_call`.
        n_prompts: number of prompts.
        n_samples: number of samples.

    Raises:
        InputError: as of :func:`batch_call`.
    """
    # By how an argument is given, not by how many there are: one more sample's is its own, too.
    by_sample = {
        name
        for name, value in call.items()
        if (_TEXT.fullmatch(name) and isinstance(value, list | tuple)) or _has_rows(name, value)
    }
    differing = {name: call[name] for name in by_sample}
    own = [batch_call(differing, [sample], n_prompts, n_samples) for sample in range(n_samples)]
    shared = {name: value for name, value in call.items() if name not in by_sample}
    return shared, [
        {name: value[0] if _TEXT.fullmatch(name) else value for name, value in one.items()} for one in own
    ]


def _has_rows(name: str, value: Any) -> bool:
    """Whether an argument is a tensor whose rows are of samples: no schedule, no single image."""
    # One image has [channel, y, x]; one mask may lack the channel.
    least = 3 if name.endswith("mask_image") else 4 if name.endswith("image") else 2
    return isinstance(value, _TENSORS) and value.ndim >= least and not _is_shared(name)


def _is_shared(name: str) -> bool:
    """Whether diffusers repeats an argument for every row of a batch, however many images it holds."""
    return "ip_adapter_image" in name


def _is_unclear(value: Any, n_rows: int, n_samples: int) -> bool:
    """Whether it cannot be told if something inside of an argument belongs to one sample or to all."""
    if isinstance(value, dict):
        inside = [each for each in value.values() if isinstance(each, _TENSORS) and each.ndim > 1]
        return n_samples > 1 and any(len(each) > 1 for each in inside)
    images = [each for each in value if isinstance(each, _IMAGES)] if isinstance(value, list | tuple) else []
    return len(images) > 1 and n_rows > 1 and not len(images) == n_rows == n_samples
