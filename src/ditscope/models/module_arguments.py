"""Arguments of a call by name, whether they came by name or by position: of a module, or of a pipeline."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

RawInputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of a call, as nnsight serves them at ``.inputs``."""


def parameter_names(module: Any) -> tuple[str, ...]:
    """Names of a module's positional parameters, from its class: an instance's forward may be wrapped."""
    return _positional(type(module).forward)


@functools.lru_cache(maxsize=256)
def _positional(forward: Callable[..., Any]) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(forward).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)[1:]


def named_arguments(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a module's call by name, those that it leaves out left out."""
    return {**dict(zip(parameter_names(module), args, strict=False)), **kwargs}


def argument(names: tuple[str, ...], raw: RawInputs, name: str) -> Any:
    """The argument of that name, or None if the call leaves it out."""
    args, kwargs = raw
    if name in kwargs:
        return kwargs[name]
    position = names.index(name)
    return args[position] if position < len(args) else None


def with_argument(names: tuple[str, ...], raw: RawInputs, name: str, value: Any) -> RawInputs:
    """The call's arguments with one replaced, in the way in which it came."""
    args, kwargs = raw
    position = names.index(name)
    if name not in kwargs and position < len(args):
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, {**kwargs, name: value}
