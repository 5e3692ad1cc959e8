"""Whether modules are what they were when they were last described, told in a fifth of the time of describing them.

What follows from their names, classes and attributes alone is made once. An attribute that cannot change is kept
meanwhile, so that nothing else comes to its place in memory and its place tells it; of any other, what it is now is
compared as text.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch

from ditscope.models._internals.of_accelerate import hooked
from ditscope.models._internals.of_diffusers import diffusers_hooks
from ditscope.models.module_attributes import module_attributes
from ditscope.models.plain_form import PlainForm

_UNCHANGEABLE = (bool, int, float, str, type(None), torch.dtype)


class _Seen(NamedTuple):
    """What a description was made of: by value, by place in memory (``kept`` keeps the places), and as text."""

    names: list[str]
    kinds: dict[type, str]
    firsts: list[int]
    places: list[tuple[Any, ...]]
    kept: list[Any]
    others: list[tuple[int, str]]
    said: str


_LAST: weakref.WeakKeyDictionary[torch.nn.Module, tuple[_Seen, dict[str, Any]]] = weakref.WeakKeyDictionary()
"""Of each network, what its description was made of, and that."""


def described_once(
    network: torch.nn.Module,
    members: Sequence[tuple[str, torch.nn.Module]],
    plain: PlainForm,
    describe: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """What ``describe`` says of a network's modules, or said the last time if it would say the same now.

    Args:
        network: the network.
        members: its modules by name.
        plain: makes plain forms.
        describe: says what follows from the modules' names, classes and attributes, and from nothing else.
    """
    names, modules = [name for name, _ in members], [module for _, module in members]
    kinds = {kind: plain.class_name(kind) for kind in set(map(type, modules))}
    if any(diffusers_hooks(module) for _, module in hooked(members)):  # which are more than attributes
        return describe()
    if (last := _LAST.get(network)) is not None:
        seen, described = last
        if (
            (seen.names, seen.kinds) == (names, kinds)
            and seen.places == _places(modules, seen.firsts)
            and seen.said == _said(modules, seen.others, plain)
        ):
            return described
    kept: list[Any] = []
    others: list[tuple[int, str]] = []
    for position, module in enumerate(modules):
        for name, value in module_attributes(module):
            if _is_unchangeable(value):
                kept.append(value)
            else:
                others.append((position, name))
    described = describe()
    firsts = [len(_TORCHS) if tuple(vars(each))[: len(_TORCHS)] == _TORCHS else 0 for each in modules]
    places = _places(modules, firsts)
    _LAST[network] = (
        _Seen(names, kinds, firsts, places, kept, others, _said(modules, others, plain)),
        described,
    )
    return described


_TORCHS = tuple(vars(torch.nn.Module()))
"""What torch keeps on every module, in this order, before anything else is set on it."""


def _places(modules: Sequence[torch.nn.Module], firsts: Sequence[int]) -> list[tuple[Any, ...]]:
    """Class, names of the attributes, and where in memory are those that torch did not set, from the first one on."""
    return [
        (
            type(module),
            *(own := vars(module)),
            id(own.get("training")),
            *map(id, islice(own.values(), first, None)),
        )
        for module, first in zip(modules, firsts, strict=True)
    ]


def _said(modules: Sequence[torch.nn.Module], others: Sequence[tuple[int, str]], plain: PlainForm) -> str:
    return repr([plain(vars(modules[at])[name]) for at, name in others])


def _is_unchangeable(value: Any) -> bool:
    return type(value) in _UNCHANGEABLE or (type(value) is tuple and all(map(_is_unchangeable, value)))
