"""A pipeline's call: the defaults of its class and of its own folder, and the samples that it makes.

A folder may hold ``ditscope.json`` beside ``model_index.json``: ``{"call": {...}}`` names the call arguments that
suit the checkpoint (height, width, text length, guidance). They fill in what a call leaves out, and nothing else.
"""

from __future__ import annotations

import inspect
import operator
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ditscope.models._internals.of_diffusers import compute_device
from ditscope.models.pipeline_folder import call_settings

SETTINGS_FILE = "ditscope.json"

Sample = tuple[str | None, int | None]
"""Prompt and seed of one image; no prompt where only its embedding was passed, no seed where no fresh generator was."""


def call_defaults(source: str | None, pipeline_class: type | None = None) -> dict[str, Any]:
    """Call arguments that suit a checkpoint folder, or none for a hub id, or where there is no folder.

    Args:
        source: the folder.
        pipeline_class: the class that is called, where it may not be the folder's: what it does not take is left out.

    Raises:
        InputError: as of :func:`ditscope.models.pipeline_folder.call_settings`.
    """
    path = Path(source or "", SETTINGS_FILE)
    if not source or not path.is_file():
        return {}
    settings = call_settings(path)
    taken = settings if pipeline_class is None else call_parameters(pipeline_class)
    return {name: value for name, value in settings.items() if name in taken}


def call_parameters(pipeline_class: type) -> dict[str, inspect.Parameter]:
    """Parameters of a pipeline's call by name, and those of what it is derived from where it passes others on."""
    found: dict[str, inspect.Parameter] = {}
    for base in pipeline_class.__mro__:
        if "__call__" in vars(base):
            own = _parameters(vars(base)["__call__"])
            passes_on = [name for name, each in own.items() if each.kind is each.VAR_KEYWORD]
            found = {**own, **found}
            if not passes_on:
                break
    return {
        n: each
        for n, each in found.items()
        if n != "self" and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """A function's parameters, found once for what it is made of: code and defaults of what it wraps."""
    written = inspect.unwrap(function)
    made_of = [getattr(written, name, None) for name in ("__code__", "__defaults__", "__kwdefaults__")]
    known = _FOUND.get(function)
    if known is None or made_of[-1] or not all(map(operator.is_, made_of, known[0])):
        known = _FOUND[function] = made_of, dict(inspect.signature(function).parameters)
    return known[1]


_FOUND: weakref.WeakKeyDictionary[Any, tuple[list[Any], dict[str, inspect.Parameter]]] = (
    weakref.WeakKeyDictionary()
)


def signature_defaults(pipeline_class: type) -> dict[str, Any]:
    """Defaults of a pipeline's call arguments, from its class."""
    parameters = call_parameters(pipeline_class).values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def step_callback(pipeline: Any) -> str:
    """Name of the pipeline's argument for a function that is called at the end of every step."""
    parameters = call_parameters(type(pipeline))
    return "callback_on_step_end" if "callback_on_step_end" in parameters else "callback"


def complete_call(
    pipeline: Any, call: Mapping[str, Any], defaults: Mapping[str, Any], seed: int | None = None
) -> dict[str, Any]:
    """Call arguments with the defaults filled in, one negative prompt for each prompt, and generators from a seed.

    Args:
        pipeline: the pipeline.
        call: what the caller passes; its generators come before the seed.
        defaults: what to fill in.
        seed: of the first image; each further image has the next one.
    """
    # Pipelines write into the dicts that they are passed, as FLUX.1 into joint_attention_kwargs.
    given = {**defaults, **call}
    complete = {name: dict(value) if isinstance(value, dict) else value for name, value in given.items()}
    prompt, negative = complete.get("prompt"), complete.get("negative_prompt")
    rows = complete.get("prompt_embeds") if prompt is None else prompt
    if rows is not None and not isinstance(rows, str) and isinstance(negative, str):
        # FLUX.1 encodes a single negative prompt as one row, which does not fit a batch.
        complete["negative_prompt"] = [negative] * len(rows)
    if seed is not None and complete.get("generator") is None:
        n_images = len(_prompts(complete))
        # nnsight would make them where the weights are, which is nowhere once they are offloaded.
        made = generators(pipeline, range(seed, seed + n_images))
        complete["generator"] = made if n_images > 1 else made[0]
    return complete


def generators(pipeline: Any, seeds: range | list[int]) -> list[torch.Generator]:
    """One generator for each image, where the pipeline computes: no image depends on its neighbours' seeds."""
    device = compute_device(pipeline)
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def samples_of(call: Mapping[str, Any]) -> list[Sample]:
    """Prompt and seed of every image that a call makes, in the order of the rows of one branch.

    A single generator draws for all images, so it is the seed of each. One that has drawn before makes another
    image than its seed says, so it tells none.
    """
    prompts, made = _prompts(call), call.get("generator")
    each = made if isinstance(made, list | tuple) else [made] * len(prompts)
    return list(zip(prompts, map(_seed, each), strict=False))


def _seed(generator: torch.Generator | None) -> int | None:
    if generator is None:
        return None
    seed = generator.initial_seed()
    fresh = torch.Generator(generator.device).manual_seed(seed)
    return seed if torch.equal(generator.get_state(), fresh.get_state()) else None


def _prompts(call: Mapping[str, Any]) -> list[str | None]:
    """The prompt of every image: those of one prompt follow each other."""
    prompt, embedded = call.get("prompt"), call.get("prompt_embeds")
    if prompt is None:
        prompts = [None] * (1 if embedded is None else len(embedded))
    else:
        prompts = list(prompt) if isinstance(prompt, list | tuple) else [prompt]
    return [prompt for prompt in prompts for _ in range(call.get("num_images_per_prompt") or 1)]
