"""``load``: open a pipeline by name, and refuse early what would fail late or be ignored."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from ditscope._quiet import quiet_unless_terminal
from ditscope.errors import InputError
from ditscope.models.dit import DiT
from ditscope.models.embedded import EMBEDDED, embedded_folder
from ditscope.models.families import family_of
from ditscope.models.pipeline_call import call_defaults
from ditscope.models.versions import warn_of_known_bad

# What DiffusionPipeline.from_pretrained reads from its **kwargs; anything else it ignores with a log line.
_LOADING_ARGUMENTS = frozenset(
    (
        *("torch_dtype", "device_map", "max_memory", "low_cpu_mem_usage", "quantization_config"),
        *("revision", "custom_revision", "variant", "token", "mirror", "proxies", "cache_dir"),
        *("force_download", "local_files_only", "use_safetensors", "dduf_file"),
        *("offload_folder", "offload_state_dict"),
    )
)

_NO_CLASS = "(none named)"


def load(name_or_path: str, **from_pretrained_kwargs: Any) -> DiT:
    """Open a text-to-image pipeline.

    Args:
        name_or_path: ``"shapes"`` for the embedded pipeline, a folder, or a hub id.
        **from_pretrained_kwargs: passed to ``DiffusionPipeline.from_pretrained``, such as
            ``torch_dtype=torch.bfloat16`` or ``device_map="cuda"``. ``dtype=`` is understood as
            ``torch_dtype=``; ``device=`` moves the pipeline once it is loaded.

    Raises:
        InputError: the folder holds no pipeline or lacks weights, or an argument is unknown.
        UnsupportedError: no family is known for the pipeline's class, a block or a forward has been replaced in a
            transformer that was passed, or its blocks are offloaded where they must not be yet.
    """
    warn_of_known_bad()
    source = source_of(name_or_path)
    kwargs = dict(from_pretrained_kwargs)
    device = kwargs.pop("device", None)
    if "dtype" in kwargs:
        if "torch_dtype" in kwargs:
            raise InputError("both dtype= and torch_dtype=", "one of them", "Drop dtype=.")
        kwargs["torch_dtype"] = kwargs.pop("dtype")
    if device is not None and "device_map" in kwargs:
        raise InputError("both device= and device_map=", "one of them", "Drop device=.")
    if "torch_dtype" in kwargs:
        kwargs["torch_dtype"] = _dtype(kwargs["torch_dtype"])
    if device is not None:
        _require_device(device)
    config = pipeline_config(source, kwargs.get("revision"))
    family = family_of(config["_class_name"])
    _refuse_missing_weights(source, config, given=kwargs)
    _refuse_unknown(kwargs, config)
    kwargs.setdefault("use_safetensors", True)
    with quiet_unless_terminal():
        dit = DiT(source, name=str(name_or_path), family=family, **kwargs)
    if device is not None:
        dit.diffusers_pipeline.to(device)
    dit.diffusers_pipeline.set_progress_bar_config(disable=True)
    return dit


def load_undescribed(name_or_path: str, dtype: Any = None, device: Any = None) -> tuple[Any, dict[str, Any]]:
    """A plain diffusers pipeline of any class, with the call arguments that its folder suggests.

    Raises:
        InputError: there is no pipeline of that name, it has no ``transformer``, or the dtype or device is unknown.
    """
    source = source_of(name_or_path)
    if device is not None:
        _require_device(device)
    if "transformer" not in pipeline_config(source, None):
        raise InputError(
            f"{name_or_path!r}, a pipeline without a transformer",
            "one with a transformer",
            "Try another.",
        )
    given = {} if dtype is None else {"torch_dtype": _dtype(dtype)}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(source, use_safetensors=True, **given)
    return (pipeline if device is None else pipeline.to(device)), call_defaults(source)


def source_of(name_or_path: str) -> str:
    """The folder or hub id that a name stands for."""
    return str(embedded_folder()) if name_or_path == EMBEDDED else str(name_or_path)


def _dtype(asked: Any) -> Any:
    """A torch dtype, by itself or by name; a mapping from component to dtype is left to diffusers."""
    dtype = getattr(torch, asked.removeprefix("torch."), None) if isinstance(asked, str) else asked
    if not isinstance(dtype, torch.dtype | Mapping):
        raise InputError(
            f"dtype {asked!r}", "a torch dtype such as torch.bfloat16", "Pass torch_dtype=torch.bfloat16."
        )
    return dtype


def _require_device(device: Any) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"device {device!r} ({str(error).splitlines()[0]})",
            "a device that torch can use here",
            "Pass device='cpu', or install torch for that device.",
        ) from error


def pipeline_config(source: str, revision: str | None) -> Mapping[str, Any]:
    """A pipeline's ``model_index.json``, of a folder or a hub id.

    Raises:
        InputError: there is none.
    """
    folder = Path(source)
    if folder.is_dir():
        index = folder / "model_index.json"
        if not index.is_file():
            raise InputError(
                f"folder {source} without model_index.json",
                "a diffusers pipeline folder",
                "Save one with pipeline.save_pretrained(folder), or pass 'shapes' or a hub id.",
            )
        try:
            return {"_class_name": _NO_CLASS, **json.loads(index.read_text())}
        except (ValueError, TypeError) as error:
            raise InputError(
                f"an unreadable model_index.json in {source} ({error})",
                "a JSON object that names a pipeline class",
                "Save the pipeline again with pipeline.save_pretrained(folder).",
            ) from error
    if folder.exists():
        raise InputError(f"the file {source}", "a diffusers pipeline folder", "Pass the folder it is in.")
    try:
        return diffusers.DiffusionPipeline.load_config(source, revision=revision)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{source!r}, which is no folder and cannot be fetched as a hub id ({type(error).__name__})",
            f"'{EMBEDDED}', a pipeline folder or a reachable hub id",
            "Check the spelling, the network and your access to the repository.",
        ) from error


def _refuse_missing_weights(source: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    folder = Path(source)
    if not folder.is_dir():
        return
    saved = [
        name for name, spec in config.items() if isinstance(spec, list) and spec[1] and name not in given
    ]
    missing = [name for name in saved if not _is_saved(folder / name)]
    if missing:
        raise InputError(
            f"no safetensors weights for {', '.join(missing)} in {source}",
            "weights beside every config.json",
            "Save the pipeline again with pipeline.save_pretrained(folder, safe_serialization=True).",
        )


def _is_saved(component: Path) -> bool:
    """Whether a component's folder is there, and has weights if it is of a network."""
    return component.is_dir() and (
        not (component / "config.json").is_file() or any(component.glob("*.safetensors"))
    )


def _refuse_unknown(kwargs: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    components = {name for name, spec in config.items() if isinstance(spec, list)}
    pipeline_class = getattr(diffusers, config["_class_name"])
    components |= set(inspect.signature(pipeline_class.__init__).parameters) - {"self"}
    unknown = sorted(set(kwargs) - _LOADING_ARGUMENTS - components)
    if unknown:
        raise InputError(
            f"loading argument {', '.join(unknown)}, which diffusers would ignore",
            f"one of {', '.join(sorted(_LOADING_ARGUMENTS))}, dtype, device or a component's name",
            "Call arguments such as num_inference_steps belong to generate().",
        )
