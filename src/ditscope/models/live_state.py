"""What can change a run's numbers and is neither weights nor call, read from the pipeline as it is now.

It is read again at every run, so it must be cheap, and equal whenever the numbers are: for two loads of one folder,
before and after a run, offloaded or not. What only moves weights, or notes how far a run is, is left out.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models import attention_dispatch

from ditscope.models._internals.forwards import home_of
from ditscope.models._internals.of_diffusers import attention_backend
from ditscope.models._internals.of_torch import (
    attribute_of,
    forward_hooks,
    parameters_of,
    tensors_of,
    with_forward_hooks,
)
from ditscope.models.module_table import common, module_table
from ditscope.models.offload import Members, members_by_network
from ditscope.models.plain_form import KNOWN_CODE, PlainForm, foreign_members, is_foreign, short_digest
from ditscope.models.replaced_modules import foreign_forward
from ditscope.models.seen_modules import described_once
from ditscope.models.versions import installed

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_ALWAYS = ("torch", "diffusers", "transformers", "nnsight", "accelerate", "tokenizers")
_WHERE_USED = {
    "peft": "peft",
    "torchao": "torchao",
    "bitsandbytes": "bitsandbytes",
    "optimum": "optimum-quanto",
}
"""Top-level package -> library, whose version counts where a module or a weight is of one of its classes."""

_COPYING = "transformers.utils.output_capturing"
"""Its forward hooks, set in the first run, copy hidden states and change none."""

_PLACEMENT = {"hf_device_map"}


def live_state(dit: DiT, members: Mapping[str, Members] | None = None) -> dict[str, Any]:
    """The live state as JSON: versions, torch's settings, the pipeline, and each of its components by name.

    A network has its class, dtype, quantization, adapters (scale, active, fused, disabled), attention processors,
    forward hooks of torch's, configuration, and a table of its modules' attributes by class. A scheduler, tokenizer
    or image processor has its class and settings. ``patched`` names a library's functions that were replaced.
    See :func:`ditscope.models.module_table.module_table`.

    Args:
        dit: the model.
        members: those of :func:`ditscope.models.offload.members_by_network`, where they are at hand.
    """
    pipeline = dit.diffusers_pipeline
    if members is None:
        members = members_by_network(pipeline)
    modules = [module for own in members.values() for _, module in own]
    plain = PlainForm(modules)
    used = {*map(type, modules), *map(type, parameters_of(modules))}
    state: dict[str, Any] = {
        "versions": installed(sorted({*_ALWAYS, *_libraries(used)})),
        "torch": _torch_settings(),
        "attention_backend": attention_backend(),
        "pipeline": _pipeline(pipeline, plain),
    }
    if everywhere := forward_hooks(None):
        state["hooks_on_all_modules"] = [plain.function(hook) for hook in everywhere]
    if patched := dict(_patched(pipeline, modules, plain)):
        state["patched"] = patched
    for name, component in pipeline.components.items():
        state[name] = _network(component, members[name], plain) if name in members else plain(component)
    return state


def live_digest(state: Mapping[str, Any]) -> str:
    """SHA-256 of a live state, shortened to 16 digits."""
    return short_digest(state, 16)


def _network(network: Any, members: Members, plain: PlainForm) -> dict[str, Any]:
    dtypes = {value.dtype for value in parameters_of(module for _, module in members)}
    by_weight = tensors_of(members)[0] if len(dtypes) > 1 else ()
    quantizer = getattr(network, "hf_quantizer", None)
    by_name = {"hooks": dict(_hooks(members, plain)), "forwards": dict(_forwards(members, plain))}

    def of_modules() -> dict[str, Any]:
        return {
            "adapters": _adapters(members),
            "processors": _processors(members, plain),
            "modules": module_table(members, plain),
        }

    return {
        "class": plain.class_name(type(network)),
        "dtype": common(
            [(name, plain(value.dtype)) for name, value in by_weight]
            or [("", plain(next(iter(dtypes), None)))]
        ),
        "quantization": plain(getattr(quantizer, "quantization_config", None)),
        "config": plain(getattr(network, "config", None)),
        **{what: found for what, found in by_name.items() if found},
        **described_once(network, members, plain, of_modules),
    }


def _adapters(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Name -> number of layers, scale, and whether it is active, fused into the weights, disabled."""
    found: dict[str, dict[str, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, layer in members:
        if not hasattr(layer, "merged_adapters"):
            continue
        for adapter in {*getattr(layer, "scaling", ()), *layer.active_adapters, *layer.merged_adapters}:
            for what, value in (
                ("scale", getattr(layer, "scaling", {}).get(adapter)),
                ("active", adapter in layer.active_adapters),
                ("fused", adapter in layer.merged_adapters),
                ("disabled", bool(layer.disable_adapters)),
            ):
                found[adapter][what].append((name, value))
    return {
        adapter: {"layers": len(values["scale"]), **{what: common(own) for what, own in values.items()}}
        for adapter, values in sorted(found.items())
    }


def _processors(members: Members, plain: PlainForm) -> dict[str, int]:
    """Class of attention processor -> number of modules with one."""
    counts: dict[str, int] = defaultdict(int)
    for _, module in members:
        processor = attribute_of(module, "processor")
        if processor is not None:
            counts[plain.class_name(type(processor))] += 1
    return dict(sorted(counts.items()))


def _hooks(members: Members, plain: PlainForm) -> Iterator[tuple[str, list[Any]]]:
    """Modules with forward hooks of torch's, and the hooks."""
    for name, module in with_forward_hooks(members):
        hooks = [plain.function(hook) for hook in forward_hooks(module) if home_of(hook) != _COPYING]
        if hooks:
            yield name or "itself", hooks


def _forwards(members: Members, plain: PlainForm) -> Iterator[tuple[str, Any]]:
    """Modules with another forward than their class's, and that forward."""
    for name, module in members:
        if (forward := foreign_forward(module)) is not None:
            yield name or "itself", plain.function(forward)


def _pipeline(pipeline: Any, plain: PlainForm) -> dict[str, Any]:
    """Class, and attributes: values with an underscore are set by a call, or say where weights are."""
    left_out = {*pipeline.components, *_PLACEMENT}
    kept = {
        name: value
        for name, value in vars(pipeline).items()
        if (not name.startswith("_") or is_foreign(value)) and name not in left_out
    }
    # Of the configuration, what is no component: those are named by their library and class.
    settings = {
        name: value
        for name, value in pipeline.config.items()
        if not name.startswith("_") and name not in left_out
    }
    return {"class": plain.class_name(type(pipeline)), "config": plain(settings), **plain(kept)}


def _patched(
    pipeline: Any, modules: Sequence[torch.nn.Module], plain: PlainForm
) -> Iterator[tuple[str, Any]]:
    """What stands in the place of a library's functions, in torch and where the pipeline's classes are written."""
    used = [pipeline, *pipeline.components.values(), *modules]
    used += [attribute_of(module, "processor") for module in modules]
    homes = {kind.__module__ for each in {*map(type, used)} for kind in each.__mro__}
    homes |= {"torch", torch.nn.functional.__name__, attention_dispatch.__name__}
    # Where only `object` is written; a notebook adds names of its own there, which count its messages.
    for home in sorted(homes - {"builtins"}):
        if home.partition(".")[0] in KNOWN_CODE:
            for name, value in foreign_members(sys.modules[home]):
                yield f"{home}.{name}", plain.function(value)


def _libraries(kinds: Iterable[type]) -> Iterator[str]:
    for package in {kind.__module__.partition(".")[0] for kind in kinds} & _WHERE_USED.keys():
        yield _WHERE_USED[package]


def _torch_settings() -> dict[str, Any]:
    """What torch computes with: settings by which the same operation gives other bits.

    How many threads and which device are not here: like the machine they may change between two sessions.
    """
    backends: Any = torch.backends
    cuda, cudnn, mkldnn = backends.cuda, backends.cudnn, backends.mkldnn
    if hasattr(
        cuda.matmul, "fp32_precision"
    ):  # torch 2.9; where both ways were used, reading the older one fails
        of = {"cuda.matmul": cuda.matmul, "cudnn.conv": cudnn.conv}
        of |= {"mkldnn.matmul": mkldnn.matmul, "mkldnn.conv": mkldnn.conv}
        said = {name: settings.fp32_precision for name, settings in {"all": backends, **of}.items()}
        unsaid = "ieee" if said["all"] == "none" else said["all"]
        precision = {name: unsaid if said[name] == "none" else said[name] for name in of}
    else:
        precision = {"matmul": torch.get_float32_matmul_precision()}
        precision |= {"cuda.matmul": cuda.matmul.allow_tf32, "cudnn.conv": cudnn.allow_tf32}
    return {
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "float32_precision": precision,
        "reduced_precision_sums": {
            "float16": cuda.matmul.allow_fp16_reduced_precision_reduction,
            "bfloat16": cuda.matmul.allow_bf16_reduced_precision_reduction,
        },
        "deterministic": {"all": torch.are_deterministic_algorithms_enabled(), "cudnn": cudnn.deterministic},
        "cudnn_benchmark": cudnn.benchmark,
        "scaled_dot_product_attention": {
            "flash": cuda.flash_sdp_enabled(),
            "memory_efficient": cuda.mem_efficient_sdp_enabled(),
            "cudnn": cuda.cudnn_sdp_enabled(),
            "math": cuda.math_sdp_enabled(),
        },
        "autocast": {
            device: str(torch.get_autocast_dtype(device)).removeprefix("torch.")
            for device in ("cpu", "cuda")
            if torch.is_autocast_enabled(device)
        },
    }
