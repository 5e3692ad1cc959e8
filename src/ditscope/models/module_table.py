"""A network's modules by class, with what each attribute is in them: small, and a difference has a name.

``LayerNorm.eps`` is one number where all modules of the class have the same; where they differ, each value is there
with the modules that have it, or with their number, and a digest over all of them by name.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ditscope.models._internals import OFFLOADING_HOOKS, diffusers_hooks
from ditscope.models.plain_form import PlainForm, digest

_TORCHS = {*vars(torch.nn.Module()), "forward"} - {"training"}
"""What torch keeps on a module: parameters and buffers are in the weights' fingerprint, hooks and forwards beside."""

_LEFT_OUT = {
    # Wrappers: nnsight's state, the forward to put back, accelerate's and diffusers' hooks with what they wrapped.
    *("__nnsight__", "__ditscope_found__", "_hf_hook", "_old_forward", "_diffusers_hook"),
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

_NAMED = 2
_SHOWN = 6


def module_table(network: torch.nn.Module, plain: PlainForm) -> dict[str, Any]:
    """Class -> attribute -> value, or what :func:`common` makes of several; and the modules' names, as a digest."""
    names: dict[str, list[str]] = defaultdict(list)
    values: dict[str, dict[str, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, module in network.named_modules():
        kind = plain.class_name(type(module))
        names[kind].append(name)
        for attribute, value in _attributes(module):
            if not isinstance(value, torch.nn.Module | torch.device):
                values[kind][attribute].append((name, plain(value)))
    return {
        kind: {
            "modules": f"{len(own)} {digest(own)}",
            **{attribute: common(found, len(own)) for attribute, found in sorted(values[kind].items())},
        }
        for kind, own in sorted(names.items())
    }


def common(found: Sequence[tuple[str, Any]], n_modules: int | None = None) -> Any:
    """The value that all modules have; else values with their modules or counts, and a digest over all.

    Args:
        found: (module, plain value) of each.
        n_modules: how many modules there are, if some may lack the value.
    """
    texts = [json.dumps(value, sort_keys=True) for _, value in found]
    counted = Counter(texts)
    if len(counted) == 1 and n_modules in (None, len(found)):
        return found[0][1]
    owners = {
        text: [name for (name, _), own in zip(found, texts, strict=True) if own == text]
        for text, count in counted.most_common()[-_SHOWN:]
        if count <= _NAMED
    }
    shown = {text: owners.get(text, count) for text, count in counted.most_common()[-_SHOWN:]}
    all_of_them = digest([[name, text] for (name, _), text in zip(found, texts, strict=True)])
    return {"values": shown, "distinct": len(counted), "digest": all_of_them}


def _attributes(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name not in _TORCHS and name not in _LEFT_OUT:
            yield name, value
    hooks = {name: hook for name, hook in diffusers_hooks(module).items() if name not in OFFLOADING_HOOKS}
    if hooks:
        yield "diffusers_hooks", hooks
