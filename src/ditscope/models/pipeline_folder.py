"""A pipeline's folder, which may be broken or a stranger's: each file is looked at before a library reads it."""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch

from ditscope import checks
from ditscope._display import quoted
from ditscope.errors import DitscopeError, InputError
from ditscope.models.loaded_weights import whole_weights

_SAVE_AGAIN = "Save the pipeline again with pipeline.save_pretrained(folder), or fetch it again."


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r}", "text", f'Write "{name}": "...".')


def _texts(name: str, value: Any) -> None:
    for each in value if isinstance(value, list) else [None]:
        _text(f"{name}[...]", each)


def _switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r}", "true or false", f'Write "{name}": true.')


_CALL_SETTINGS: dict[str, Callable[[str, Any], object]] = {
    **dict.fromkeys(("height", "width"), partial(checks.whole_number, most=16384)),
    "num_inference_steps": partial(checks.whole_number, most=1000),
    "max_sequence_length": partial(checks.whole_number, most=8192),
    "text_encoder_out_layers": checks.whole_numbers,
    **dict.fromkeys(("guidance_scale", "true_cfg_scale", "cfg_trunc_ratio"), checks.finite_number),
    **dict.fromkeys(("negative_prompt", "negative_prompt_2", "negative_prompt_3", "system_prompt"), _text),
    "complex_human_instruction": _texts,
    **dict.fromkeys(("use_resolution_binning", "clean_caption", "cfg_normalization"), _switch),
}
"""What a folder may say of calls, and the check of each."""


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        why = f"a {type(value).__name__}"
    except (OSError, ValueError, RecursionError) as error:
        value, why = None, str(error).splitlines()[0]
    if not isinstance(value, dict):
        raise InputError(
            f"an unreadable {path.name} in {path.parent} ({why})",
            "a readable file with a JSON object",
            _SAVE_AGAIN,
        )
    return value


def checked_index(index: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The content of a ``model_index.json``, if every component is named as diffusers does it.

    Raises:
        InputError: a component is not a pair of library and class, or there is no such class.
    """
    for name, spec in index.items():
        if name.startswith("_") or not isinstance(spec, list | str | dict) or _is_setting(index, name, spec):
            continue
        pair = isinstance(spec, list) and len(spec) == 2
        if not pair or not (spec == [None, None] or all(isinstance(part, str) for part in spec)):
            raise InputError(
                f"component {name} as {_short(spec)} in the model_index.json of {source}",
                'a pair such as ["diffusers", "AutoencoderKL"], or [null, null]',
                _SAVE_AGAIN,
            )
        if spec[0] is not None and not _has_class(*spec):
            raise InputError(
                f"component {name} of class {spec[1]} of {spec[0]} in the model_index.json of {source}",
                "a class of the installed diffusers or transformers",
                "Correct the name, or install the version that has it; code of a folder is never run.",
            )
    return index


def _is_setting(index: Mapping[str, Any], name: str, spec: Any) -> bool:
    """Whether an entry is no component but a setting of the pipeline, by the pipeline's class."""
    kind = getattr(diffusers, str(index.get("_class_name")), None)
    parameters = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    parameter = parameters.get(name)
    return parameter is not None and isinstance(parameter.default, bool | int | float | str) and spec != []


def _has_class(library: str, name: str) -> bool:
    if library in ("diffusers", "transformers"):
        return hasattr(importlib.import_module(library), name)
    return hasattr(getattr(diffusers.pipelines, library, None), name)


def require_readable(folder: Path, component: str) -> None:
    """See that a component's files can be read: its configuration, and the ends of its weights.

    Raises:
        InputError: naming the file that cannot.
    """
    if (folder / component / "config.json").exists():
        read_object(folder / component / "config.json")
    for path in sorted((folder / component).glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                entries = json.loads(file.read(length)) if length <= size else {}
                ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
            except (ValueError, RecursionError, AttributeError, LookupError, TypeError):
                ends = []
        whole = 8 + length + max(ends, default=0)
        if not ends or size != whole:
            raise InputError(
                f"{size} bytes of weights in {path}",
                f"{whole if ends else 'a header and its tensors'}",
                _SAVE_AGAIN,
            )


@contextmanager
def opening(source: str) -> Iterator[None]:
    """While diffusers opens a pipeline: what it raises is said in one line, with its own error as the cause.

    Raises:
        InputError: it cannot be opened, or a network of it lacks weights.
    """
    try:
        with whole_weights(), warnings.catch_warnings():
            # Which nnsight alone still understands, whatever its caller wrote.
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            yield
    except (DitscopeError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise InputError(
            f"a pipeline at {source} that diffusers cannot open ({type(error).__name__}: {_short(first)})",
            "a whole pipeline, and arguments that suit it",
            _SAVE_AGAIN,
        ) from error


def call_settings(path: Path) -> dict[str, Any]:
    """The call arguments in a folder's settings file, each one that may be set there, and checked.

    Raises:
        InputError: naming an argument that may not be set, or a value that cannot be used.
    """
    call = read_object(path).get("call")
    if not isinstance(call, dict):
        raise InputError(f"{path} without call arguments", '{"call": {...}}', "Correct or remove the file.")
    index = path.parent / "model_index.json"
    kind = getattr(diffusers, str(read_object(index).get("_class_name")), None) if index.is_file() else None
    own = set(inspect.signature(kind.__call__).parameters) if isinstance(kind, type) else set(call)
    for name, value in call.items():
        if name not in _CALL_SETTINGS or name not in own:
            known = ", ".join(known for known in _CALL_SETTINGS if kind is None or known in own)
            raise InputError(
                f"call argument {name!r} in {path}",
                f"any of {known}",
                "Remove it from the file, and pass it to generate() if you want it.",
            )
        try:
            _CALL_SETTINGS[name](name, value)
        except InputError as error:
            raise InputError(
                f"{error.found} in {path}", error.expected, "Correct or remove it in the file."
            ) from error
    return dict(call)


def hidden_prompts(call: Mapping[str, Any]) -> str:
    """The negative prompts among a folder's call arguments, which no caller wrote, in words; "" if none."""
    hidden = {name: value for name, value in call.items() if name.startswith("negative_prompt") and value}
    return ", ".join(f"{name}={_short(value)}" for name, value in hidden.items())


def _short(value: Any) -> str:
    return quoted([value], length=200) if isinstance(value, str) else repr(value)[:200]
