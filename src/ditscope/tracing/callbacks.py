"""Callbacks of a call: what one is known by in a manifest, which must say when it is no longer the same.

A callback may change latents and embeddings, so it is part of what made the numbers. Its digest is of its code
and of the values that the code reaches: defaults, what it closes over, plain globals, and functions of its own module.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin

from ditscope.cache.json_values import plain_entries
from ditscope.models.fingerprint import tensor_digest

_PLAIN = (
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(...),
    range,
    slice,
    np.generic,
    torch.dtype,
    torch.device,
)


def written_callback(callback: Callable[..., Any]) -> dict[str, Any]:
    """Name and digest of a callback, and the configuration of diffusers' own ones.

    The digest is the same in every process of one version of Python, and another once the code or a value that it
    reaches is another. What is not written in the callback's own module counts by its name alone.
    """
    inner = callback.func if isinstance(callback, functools.partial) else callback
    described = json.dumps(_described(callback, inner.__module__, ()))
    written = {"callback": _name(inner), "digest": hashlib.sha256(described.encode()).hexdigest()}
    return {**written, "config": plain_entries(inner.config)} if isinstance(inner, ConfigMixin) else written


def _name(value: Any) -> str:
    named = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _described(value: Any, home: str, within: tuple[int, ...]) -> Any:
    """What a value is, as JSON; ``home`` is the module into whose functions and objects is looked."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in within:
        return "itself"
    inner = functools.partial(_described, home=home, within=(*within, id(value)))
    if isinstance(value, CodeType):
        return [value.co_code.hex(), value.co_names, inner(value.co_consts)]
    if isinstance(value, MethodType):
        return [inner(value.__func__), inner(value.__self__)]
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, torch.Tensor | np.ndarray):
        return tensor_digest(torch.as_tensor(value))
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(inner(each)) for each in value)
    if isinstance(value, list | tuple):
        return [inner(each) for each in value]
    if isinstance(value, Mapping):
        return [[inner(name), inner(each)] for name, each in value.items()]
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType) and value.__module__ == home:
        parts = value.__code__, value.__defaults__, value.__kwdefaults__
        return [_name(value), *map(inner, parts), inner(dict(_reached(value)))]
    own = type(value)
    if inspect.isclass(value) or inspect.isroutine(value) or own.__module__ != home:
        return [_name(value), inner(plain_entries(value.config)) if isinstance(value, ConfigMixin) else None]
    functions = {name: each for name, each in vars(own).items() if isinstance(each, FunctionType)}
    return [_name(value), inner(functions), inner(_attributes(value))]


def _attributes(value: Any) -> Mapping[str, Any]:
    # What diffusers keeps of a configuration beside its entries is in no fixed order.
    return plain_entries(value.config) if isinstance(value, ConfigMixin) else getattr(value, "__dict__", {})


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The values that a function's code names: of the functions around it, and of its module."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, _content(cell)
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    yield from ((name, function.__globals__[name]) for name in sorted(names & set(function.__globals__)))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return "empty"


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
