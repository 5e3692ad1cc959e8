"""States of a pipeline in which a visit no longer means what its label says; refused before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_accelerate import hooked
from ditscope.models._internals.of_diffusers import HARMLESS_HOOKS, diffusers_hooks, disk_group
from ditscope.models._internals.of_torch import is_compiled
from ditscope.models.offload import Members, in_pipeline, members_by_network, mixed_up_on_disk
from ditscope.models.replaced_modules import read_modules, refuse_unread
from ditscope.models.schedule import require_own_schedule, require_paired_noise, require_step_clock

if TYPE_CHECKING:
    from ditscope.models.run_state import RunState

# Attributes that step-caching extensions of diffusers leave on what they change.
_CACHING_MARKS = ("enable_teacache", "enable_cache_dit", "_is_cached")


def refuse_unmapped(run: RunState, call: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """Refuse, by name and before a run, what breaks the mapping from visits to steps and from blocks to labels.

    Args:
        run: the model's state.
        call: the run's arguments.

    Returns:
        The modules that are read, as of :func:`ditscope.models.replaced_modules.read_modules`.

    Raises:
        UnsupportedError: step caching is on, layers are skipped or attention is perturbed for guidance, the
            transformer or a block is compiled or replaced by another class, something acts at a module that is read
            where nothing is read, nnsight keeps edits, weights are mixed up on disk or modules were replaced while
            they are there, the scheduler calls the model more than once a step, draws noise that no seed decides or
            cannot be set to the call's own sigmas or timesteps, or dropout is at work.
    """
    pipeline = run.pipeline
    transformer = pipeline.transformer
    networks = members_by_network(pipeline)
    members = in_pipeline(networks)
    for mark in _caching(pipeline, transformer, networks["transformer"]):
        raise UnsupportedError(
            f"step caching enabled on the transformer ({mark})",
            "every block to run in every step",
            "Switch it off, with pipeline.transformer.disable_cache() if diffusers did it, or load afresh.",
        )
    modules = dict(read_modules(run.family, transformer))
    for name, module in modules.items():
        if is_compiled(module):
            raise UnsupportedError(
                f"{name} compiled with torch.compile",
                "modules that run as they are written, to be read inside",
                "Load the pipeline without compiling it.",
            )
    refuse_unread(run, modules)
    if run.n_persistent_edits:
        raise UnsupportedError(
            f"{run.n_persistent_edits} persistent edits of nnsight on the model (dit.edit)",
            "a model that computes what its weights make",
            "Drop them with dit.clear_edits(); write in the trace, or pass edits=.",
        )
    if call.get("skip_guidance_layers") is not None:
        raise UnsupportedError(
            "skip-layer guidance (skip_guidance_layers)",
            "visits in which every block runs",
            "Leave skip_guidance_layers out.",
        )
    if run.full_call(call).get("pag_scale"):
        raise UnsupportedError(
            "perturbed-attention guidance (pag_scale)",
            "visits in which the branches are those with and without the prompt",
            "Pass pag_scale=0.0.",
        )
    for first, second in mixed_up_on_disk(members):
        raise UnsupportedError(
            f"the weights of {first} and {second} mixed up on disk by group offload",
            "a file for each of them, and no weight in both",
            "Load afresh, and offload the transformer alone to disk, in an empty folder.",
        )
    if run.modules_replaced and any(map(disk_group, transformer.modules())):
        raise UnsupportedError(
            "modules replaced while group offload keeps their weights on disk, as by a LoRA",
            "files that hold the weights that run",
            "Load the LoRA first, then offload to an empty folder, and open the pipeline after both.",
        )
    for name, module in members:
        if isinstance(module, torch.nn.Dropout) and module.training and module.p > 0:
            raise UnsupportedError(
                f"dropout at work in {name}, of a network in training mode",
                "networks that do the same twice",
                f"Call dit.diffusers_pipeline.{name.split('.')[0]}.eval().",
            )
    require_step_clock(pipeline.scheduler)
    require_paired_noise(pipeline)
    require_own_schedule(pipeline.scheduler, call)
    return modules


def _caching(pipeline: Any, transformer: torch.nn.Module, members: Members) -> Iterator[str]:
    if getattr(transformer, "is_cache_enabled", False):
        yield "enable_cache"
    for owner in (transformer, pipeline):
        yield from (mark for mark in _CACHING_MARKS if getattr(owner, mark, False) is True)
    for _, module in hooked(members):
        yield from (name for name in diffusers_hooks(module) if name not in HARMLESS_HOOKS)
