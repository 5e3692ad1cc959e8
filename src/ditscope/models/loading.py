"""``load``: open a pipeline by name or in memory, and refuse early what would fail late or be ignored."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import diffusers
import torch

from ditscope._quiet import quiet_unless_terminal
from ditscope.errors import InputError, UnsupportedError
from ditscope.models._internals.of_diffusers import optional_components
from ditscope.models.dit import DiT
from ditscope.models.embedded import EMBEDDED, EMBEDDED_NAMES, embedded_folder
from ditscope.models.families import family_of, supported
from ditscope.models.pipeline_call import call_defaults
from ditscope.models.pipeline_folder import (
    checked_index,
    hidden_prompts,
    opening,
    read_object,
    require_readable,
)
from ditscope.models.versions import warn_of_known_bad
from ditscope.paths import pipeline_name

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
_SINGLE_FILES = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
_log = logging.getLogger(__name__)


def load(
    source: Any, *, name: str | None = None, pipeline_class: Any = None, **from_pretrained_kwargs: Any
) -> DiT:
    """Open a pipeline: by a name, or one in memory, as its owner changed it.

    Args:
        source: ``"shapes"`` or ``"shapes-sana"`` for an embedded pipeline, a folder, or a hub id; or a diffusers
            pipeline, which is neither copied nor changed, and works by itself again after :meth:`DiT.close`, or
            after ``with ds.load(pipe) as dit:``.
        name: what to call the model in labels; by default what it is opened by, or was loaded from, or its class.
        pipeline_class: of diffusers or derived from one of its, or its name, instead of the class that the folder
            names: ``"FluxImg2ImgPipeline"`` of FLUX.1-dev's folder, say.
        **from_pretrained_kwargs: passed to ``from_pretrained``, such as ``torch_dtype=torch.bfloat16`` or
            ``device_map="cuda"``. ``dtype=`` is understood as ``torch_dtype=``; ``device=`` moves the pipeline
            once it is loaded. None of them is for a pipeline in memory.

    Raises:
        InputError: the folder holds no pipeline or lacks weights, or an argument cannot be used.
        UnsupportedError: no family is known for the pipeline, it is open already, or a block or a forward has been
            replaced in its transformer.

    Examples:
        >>> dit = ds.load("shapes")  # a folder, a hub id, or a diffusers pipeline in memory
        >>> dit.blocks["single.5"].name
        'single.5'
    """
    warn_of_known_bad()
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise InputError(f"name={name!r}", "a text that is not empty", "Pass name='mine', say.")
    if isinstance(source, diffusers.DiffusionPipeline):
        given = {**({} if pipeline_class is None else {"pipeline_class": 0}), **from_pretrained_kwargs}
        return _opened(source, name, given)
    if not isinstance(source, str | PathLike):
        part = isinstance(source, torch.nn.Module)
        raise InputError(
            f"a {type(source).__name__}" if part else repr(source)[:60],
            "a name, a folder, or a diffusers pipeline",
            f"Pass '{EMBEDDED}', a folder, a hub id, or the pipeline itself, not a part of it.",
        )
    named, source = str(source), source_of(str(source))
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
    chosen = None if pipeline_class is None else _pipeline_class(pipeline_class)
    family = family_of(chosen or config["_class_name"], transformer_class(config))
    _refuse_missing_weights(source, config, given=kwargs)
    _refuse_unknown(kwargs, config, chosen or named_class(config))
    kwargs.setdefault("use_safetensors", True)
    with quiet_unless_terminal(), opening(source):
        dit = DiT(source, name=name or named, family=family, automodel=chosen, **kwargs)
    if device is not None:
        dit.diffusers_pipeline.to(device)
    dit.diffusers_pipeline.set_progress_bar_config(disable=True)
    if named not in EMBEDDED_NAMES:
        _warn_of_hidden_prompts(dit)
    return dit


def _warn_of_hidden_prompts(dit: DiT) -> None:
    if hidden := hidden_prompts(dit.call_defaults):
        _log.warning("the folder of %r sets %s in every call that leaves it out", dit.name, hidden)


def _opened(pipeline: Any, name: str | None, given: Mapping[str, Any]) -> DiT:
    """A pipeline in memory, opened."""
    if given:
        raise InputError(
            f"{', '.join(f'{key}=' for key in given)} beside a pipeline in memory",
            "the pipeline as it is",
            "Change it before it is opened: pipe.to(...), or OtherPipeline.from_pipe(pipe).",
        )
    transformer = getattr(pipeline, "transformer", None)
    if transformer is None:
        raise UnsupportedError(
            f"a {type(pipeline).__name__} without a transformer",
            f"a pipeline of {supported()}",
            "Open one whose network is a Diffusion Transformer.",
        )
    family = family_of(type(pipeline), type(transformer))
    named = name or pipeline.name_or_path or type(pipeline).__name__
    with quiet_unless_terminal():
        dit = DiT(pipeline, name=str(named), family=family)
    _warn_of_hidden_prompts(dit)
    return dit


def _pipeline_class(wanted: Any) -> type:
    """A class of pipelines, by itself or by its name in diffusers.

    Raises:
        InputError: it is none.
    """
    found = getattr(diffusers, wanted, None) if isinstance(wanted, str) else wanted
    base = diffusers.DiffusionPipeline
    if not (isinstance(found, type) and issubclass(found, base)) or found is base:
        raise InputError(
            f"pipeline_class={getattr(wanted, '__name__', wanted)!r}",
            "a class of pipelines of diffusers, or derived from one, or its name",
            "Pass pipeline_class='FluxImg2ImgPipeline', say.",
        )
    return found


def named_class(config: Mapping[str, Any]) -> Any:
    """The class that a pipeline's ``model_index.json`` names.

    Raises:
        InputError: diffusers has none of that name.
    """
    name = config["_class_name"]
    if not hasattr(diffusers, name):
        raise InputError(
            f"a pipeline of class {name}, which diffusers does not have",
            "a class of diffusers",
            "Pass pipeline_class= to ds.load: the class itself, or one of diffusers for the same parts.",
        )
    return getattr(diffusers, name)


def transformer_class(config: Mapping[str, Any]) -> str | None:
    """The class of the transformer, by a pipeline's ``model_index.json``."""
    spec = config.get("transformer")
    return spec[1] if isinstance(spec, list) else None


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
    with opening(source):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(source, use_safetensors=True, **given)
    return (pipeline if device is None else pipeline.to(device)), call_defaults(source)


def source_of(name_or_path: str | os.PathLike[str]) -> str:
    """The folder or hub id that a name stands for.

    Raises:
        InputError: as of :func:`ditscope.paths.pipeline_name`.
    """
    name = pipeline_name(name_or_path)
    return str(embedded_folder(name)) if name in EMBEDDED_NAMES else name


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
        return checked_index({"_class_name": _NO_CLASS, **read_object(index)}, source)
    if source.lower().endswith(_SINGLE_FILES):
        raise InputError(
            f"{source}, a single file of weights",
            "a diffusers pipeline folder, or a pipeline in memory",
            "Open it with diffusers, pipe = FluxPipeline.from_single_file(...) or the like, then ds.load(pipe).",
        )
    if folder.exists():
        raise InputError(f"the file {source}", "a diffusers pipeline folder", "Pass the folder it is in.")
    try:
        config = diffusers.DiffusionPipeline.load_config(source, revision=revision)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{source!r}, which is no folder and cannot be fetched as a hub id ({type(error).__name__})",
            f"'{EMBEDDED}', a pipeline folder or a reachable hub id",
            "Check the spelling, the network and your access to the repository.",
        ) from error
    return checked_index(config, source)


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
    for name in saved:
        require_readable(folder, name)


def _is_saved(component: Path) -> bool:
    """Whether a component's folder is there, and has weights if it is of a network."""
    return component.is_dir() and (
        not (component / "config.json").is_file() or any(component.glob("*.safetensors"))
    )


def _refuse_unknown(kwargs: Mapping[str, Any], config: Mapping[str, Any], pipeline_class: Any) -> None:
    components = {name for name, spec in config.items() if isinstance(spec, list)}
    parameters = dict(inspect.signature(pipeline_class.__init__).parameters)
    del parameters["self"]
    optional = optional_components(pipeline_class)
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in {*components, *kwargs, *optional}
    ]
    if missing:
        raise InputError(
            f"no {', '.join(missing)} for a {pipeline_class.__name__}",
            "every part that the pipeline is made of",
            f"Pass {missing[0]}=, loaded by itself.",
        )
    components |= set(parameters)
    unknown = sorted(set(kwargs) - _LOADING_ARGUMENTS - components)
    if unknown:
        raise InputError(
            f"loading argument {', '.join(unknown)}, which diffusers would ignore",
            f"one of {', '.join(sorted(_LOADING_ARGUMENTS))}, dtype, device or a component's name",
            "Call arguments such as num_inference_steps belong to generate().",
        )
