"""A module's own attributes: what beside weights, hooks and submodules may change what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ditscope.models._internals.forwards import ASIDE, FOUND_FORWARD
from ditscope.models._internals.of_diffusers import OFFLOADING_HOOKS, diffusers_hooks
from ditscope.models._internals.of_nnsight import STATE

_TORCHS = {*vars(torch.nn.Module()), "forward"} - {"training"}
"""What torch keeps on a module: parameters and buffers are in the weights' fingerprint, hooks and forwards beside."""

_LEFT_OUT = {
    # Wrappers: nnsight's state, the forward to put back, accelerate's and diffusers' hooks with what they wrapped.
    *(STATE, FOUND_FORWARD, ASIDE, "_hf_hook", "_old_forward", "_diffusers_hook"),
    # The configuration, which is beside, and where it was loaded from.
    *("config", "_internal_dict", "name_or_path"),
    # How far a call has come, or what was done once: an autoencoder's cache of convolutions, lengths seen.
    *("_conv_num", "_conv_idx", "_feat_map", "_enc_conv_num", "_enc_conv_idx", "_enc_feat_map"),
    *(
        "max_seq_len_cached",
        "rope_deltas",
        "_output_capturing_hooks_installed",
        "_is_hf_initialized",
        "_caches",
    ),
    # That adapters are or were there; what they are is on the layers.
    *("_hf_peft_config_loaded", "peft_config"),
    # Plans for loading, saving and placing.
    *("_tp_plan", "_ep_plan", "_pp_plan", "_fsdp_plan", "_tp_packed_row_blocks", "_tp_packed_col_blocks"),
    *("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict", "_no_split_modules", "_weight_conversions"),
    *("_skip_keys_device_placement", "_keys_to_ignore_on_load_unexpected", "_keys_to_ignore_on_load_missing"),
    *("_keys_to_ignore_on_save", "all_tied_weights_keys", "hf_device_map", "gradient_checkpointing"),
    *("_gradient_checkpointing_func", "hf_quantizer", "quantization_method"),
}
"""Attributes of modules that change no number, or are said elsewhere."""


def module_attributes(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and value of each, and diffusers' hooks that do not offload."""
    for name, value in vars(module).items():
        if name not in _TORCHS and name not in _LEFT_OUT:
            yield name, value
    hooks = {name: hook for name, hook in diffusers_hooks(module).items() if name not in OFFLOADING_HOOKS}
    if hooks:
        yield "diffusers_hooks", hooks
