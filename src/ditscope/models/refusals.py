"""States of a pipeline in which a visit no longer means what its label says; refused before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models.offload import is_offloaded, mixed_up_on_disk
from ditscope.models.replaced_modules import named, refuse_replaced_since_opening
from ditscope.models.schedule import require_own_schedule, require_step_clock

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

# Hooks of diffusers that leave every block running in every step. Others cache, skip or repeat blocks.
_HARMLESS_HOOKS = (
    "group_offloading",
    "layer_execution_tracker",
    "lazy_prefetch_group_offloading",
    "layerwise_casting",
    "peft_autocast_disable",
)

# Attributes that step-caching extensions of diffusers leave on what they change.
_CACHING_MARKS = ("enable_teacache", "enable_cache_dit", "_is_cached")


def refuse_unmapped(dit: DiT, call: Mapping[str, Any] | None = None) -> None:
    """Refuse, by name and before a run, what breaks the mapping from visits to steps and from blocks to labels.

    Args:
        dit: the model.
        call: the run's arguments, as far as they are known.

    Raises:
        UnsupportedError: step caching is on, layers are skipped for guidance, the transformer or a block is
            compiled or has been replaced, weights are mixed up on disk, the scheduler calls the model more than
            once a step, or it cannot be set to the call's own sigmas or timesteps.
    """
    pipeline = dit.diffusers_pipeline
    transformer = pipeline.transformer
    for found in _caching(pipeline, transformer):
        raise UnsupportedError(
            f"step caching enabled on the transformer ({found})",
            "every block to run in every step",
            "Switch it off, with pipeline.transformer.disable_cache() if diffusers did it, or load afresh.",
        )
    for name, module in named(dit.family, transformer):
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise UnsupportedError(
                f"{name} compiled with torch.compile",
                "modules that run as they are written, to be read inside",
                "Load the pipeline without compiling it.",
            )
    refuse_replaced_since_opening(dit)
    if (call or {}).get("skip_guidance_layers") is not None:
        raise UnsupportedError(
            "skip-layer guidance (skip_guidance_layers)",
            "visits in which every block runs",
            "Leave skip_guidance_layers out.",
        )
    for first, second in mixed_up_on_disk(dit.networks):
        raise UnsupportedError(
            f"the weights of {first} and {second} mixed up on disk by group offload",
            "a file for each of them, and no weight in both",
            "Load afresh, and offload the transformer alone to disk, in an empty folder.",
        )
    require_step_clock(pipeline.scheduler)
    require_own_schedule(pipeline.scheduler, call or {})


def refuse_offloaded_tables(dit: DiT) -> None:
    """Refuse, when a model is opened, blocks whose modulation would be read before their weights are there.

    Hooks that were set before a model is opened run inside of what nnsight reads, and fetch a block's weights
    after its inputs were served.

    Raises:
        UnsupportedError: a block is offloaded already, and its modulation adds a parameter of the block.
    """
    for block in dit.blocks:
        taps = [tap for sites in block.layout.taps.values() for tap in sites.values()]
        if any(tap.table for tap in taps) and is_offloaded(block._module):
            raise UnsupportedError(
                f"block {block.name} offloaded before the model is opened",
                f"its {next(tap.table for tap in taps if tap.table)} in place when its inputs are read",
                "Open the model first, then offload dit.diffusers_pipeline or its transformer.",
            )


def _caching(pipeline: Any, transformer: torch.nn.Module) -> Iterator[str]:
    if getattr(transformer, "is_cache_enabled", False):
        yield "enable_cache"
    for owner in (transformer, pipeline):
        yield from (mark for mark in _CACHING_MARKS if getattr(owner, mark, False) is True)
    for module in transformer.modules():
        registry = getattr(module, "_diffusers_hook", None)
        yield from (name for name in (registry.hooks if registry else ()) if name not in _HARMLESS_HOOKS)
