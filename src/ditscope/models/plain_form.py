"""What something in memory is, as JSON that is equal for two things that do the same.

Names of classes and functions stand for the code of a library, whose version is known beside them. Other code, a
user's class or a method put in a library's place, comes with a digest, since its name says nothing of what it does:
of its code, and of the values that the code reaches.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import inspect
import io
import json
import logging
import math
import operator
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Set
from itertools import chain
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
import xarray as xr
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.configuration_utils import FrozenDict
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedTokenizerBase

from ditscope.models._internals.forwards import home_of
from ditscope.models._internals.of_torch import forward_hooks
from ditscope.models.fingerprint import values_digest
from ditscope.models.module_attributes import module_attributes

KNOWN_CODE = {
    *(
        "torch",
        "diffusers",
        "transformers",
        "nnsight",
        "accelerate",
        "tokenizers",
        "peft",
        "torchao",
        "optimum",
    ),
    *("bitsandbytes", "huggingface_hub", "numpy", "PIL"),
    *("safetensors", "tqdm", "typing_extensions", "packaging", "regex"),  # which those import
    *sys.stdlib_module_names,
}
"""Top-level packages whose code is known by its name and version."""

_SOURCES = {
    *("_name_or_path", "name_or_path", "_commit_hash", "_diffusers_version", "transformers_version"),
    *("_use_default_values", "_original_object_hash"),
}
"""Where it was loaded from, by what, which settings were left out: the same model in another folder is the same."""

_PROGRESS = {
    *(
        "timesteps",
        "sigmas",
        "_timesteps",
        "num_inference_steps",
        "_step_index",
        "_begin_index",
        "step_index",
    ),
    *(
        "model_outputs",
        "timestep_list",
        "lower_order_nums",
        "this_order",
        "last_sample",
        "sample",
        "counter",
        "ets",
    ),
    *("cur_model_output", "cur_sample", "prev_derivative", "dt", "is_scale_input_called"),
}
"""What a scheduler notes for a call and from step to step: every call begins anew."""

_NAMED_ONLY = (Iterator, io.IOBase, logging.Logger, logging.Handler, RemovableHandle, torch.device)
"""What holds nothing that computes, or would be used up by reading it."""

_COLLECTIONS = (MutableMapping, MutableSequence, MutableSet)
_OF_A_CLASS = (torch.Tensor, np.ndarray, tuple, *_COLLECTIONS)
_CALLING = (
    *(FunctionType, MethodType, staticmethod, classmethod),
    *(functools.partial, functools.partialmethod, type(functools.cache(len))),
)
_AS_THEY_ARE = {bool, int, str, type(None)}
_WORDS_READ = 256
_PROBE = "A small RED naïve star, left"


class PlainForm:
    """Makes plain forms; an object or a class that comes again is described once.

    Args:
        parts: modules that are described elsewhere, and here by their class alone.
        gathered: whether what a function may gather or rebind as it runs counts: lists, dicts and sets that it
            reaches, and the variables and attributes that its code sets. A hook that notes what it sees does the
            same afterwards.
        libraries: top-level packages whose code is known by its name.
    """

    def __init__(
        self,
        parts: Iterable[torch.nn.Module] = (),
        *,
        gathered: bool = False,
        libraries: Set[str] = KNOWN_CODE,
    ) -> None:
        self._collections, self._libraries = True, libraries
        self._known: dict[int, tuple[Any, Any]] = {}
        self._plain_bases: set[type] = set()
        self._within = self
        if not gathered:
            self._within = PlainForm(gathered=True, libraries=libraries)
            self._within._collections = False
        self._parts: list[torch.nn.Module] = list(parts)
        self._within._parts = self._parts
        for kind in set(map(type, self._parts)):
            self.class_name(kind)

    def __call__(self, value: Any) -> Any:
        """The value as JSON: plain values themselves, tensors by a digest, objects by class and attributes.

        Pipelines are named only. Devices are left out: where it runs is not what runs.
        """
        if type(value) in _AS_THEY_ARE:
            return value
        if isinstance(value, enum.Enum):
            return f"{type(value).__name__}.{value.name}"
        if value is None or isinstance(value, bool | str | int):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(value)
        if isinstance(value, type):
            return self.class_name(value)
        known = self._known.get(id(value))
        if known is None:
            if isinstance(value, torch.nn.Module) and id(value) in self._part_ids:
                return self.class_name(type(value))
            # Kept with the object, so that its id is not given to another one; and before it is done, for circles.
            self._known[id(value)] = (value, f"a {type(value).__name__} around it")
            known = self._known[id(value)] = (value, self._described(value))
        return known[1]

    @functools.cached_property
    def _part_ids(self) -> set[int]:
        return set(map(id, self._parts))

    def function(self, value: Any) -> Any:
        """A hook, or what stands in a function's place, by what it does: not by what it gathers."""
        return self._within(value)

    def leaves_out(self, name: str, value: Any) -> bool:
        """Whether a variable that code reaches, or an attribute, counts for nothing."""
        return False

    def class_name(self, kind: type) -> str:
        """A class's name with its module, and a digest of what in it is no library's."""
        if self._within is not self:
            return self._within.class_name(kind)
        if id(kind) not in self._known:
            name = f"{kind.__module__}.{kind.__qualname__}"
            self._known[id(kind)] = (kind, name)  # its functions name it
            own = [part for base in kind.__mro__ for part in self._foreign_parts(base)]
            self._known[id(kind)] = (kind, f"{name} {short_digest(own)}" if own else name)
        return str(self._known[id(kind)][1])

    def _described(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        if isinstance(value, torch.Tensor):
            return tensor_name(value)
        if isinstance(value, np.ndarray):
            content = self(value.tolist()) if value.dtype.hasobject else value.tobytes().hex()
            return f"array {value.dtype} {value.shape} {short_digest(content)}"
        if isinstance(value, xr.DataArray):  # its attributes change as it is looked at
            coords = {str(name): [each.dims, each.values] for name, each in value.coords.items()}
            return self([*value.dims, value.values, coords])
        if isinstance(value, np.generic):
            return self(value.item())
        if isinstance(value, functools.partial) or inspect.isroutine(value):
            return self._within._function(value)
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, PreTrainedTokenizerBase):
            return self._tokenizer(value)
        if isinstance(value, torch.nn.Module):
            return self._network(value)
        named = self.class_name(type(value))
        if isinstance(value, (DiffusionPipeline, *_NAMED_ONLY)) or _is_nnsights(type(value)):
            return named
        if isinstance(value, _COLLECTIONS) and not (self._collections or isinstance(value, FrozenDict)):
            return named
        if isinstance(value, Mapping):
            return self._entries(value)
        if isinstance(value, MutableSequence | tuple):
            return [self(inner) for inner in value]
        if isinstance(value, Set):
            return sorted((self(inner) for inner in value), key=repr)
        called = _functions(type(value).__call__, self._libraries) if callable(value) else ()
        return self._object(value, named, called)

    def _object(self, value: Any, named: str, called: Iterable[Any]) -> Any:
        """An object by its attributes, without those that the function which is called of it sets."""
        left_out = set(_PROGRESS if isinstance(value, SchedulerMixin) else ())
        if not self._collections:
            left_out |= {name for each in called for name in _names(each.__code__, "STORE_ATTR")}
        kept = {
            "config" if name == "_internal_dict" else name: inner  # diffusers' configuration
            for name, inner in _attributes(value).items()
            if name not in left_out and not self.leaves_out(name, inner)
        }
        said = "" if kept or type(value).__repr__ is object.__repr__ else repr(value)
        return {
            "class": named,
            **self._entries(kept),
            **({"value": said} if said and " at 0x" not in said else {}),
        }

    def _entries(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        kept = ((name, value) for name, value in values.items() if name not in _SOURCES)
        return {
            name if isinstance(name, str) else json.dumps(self(name), sort_keys=True): self(value)
            for name, value in kept
            if not isinstance(value, torch.device)
        }

    def _network(self, network: torch.nn.Module) -> str:
        """A network's class, and a digest of its modules' attributes and hooks, and of its weights."""
        modules = [
            [
                *(name, self.class_name(type(module)), self._entries(dict(module_attributes(module)))),
                *(self.function(each) for each in (vars(module).get("forward"), *forward_hooks(module))),
            ]
            for name, module in network.named_modules()
        ]
        weights = chain(network.named_parameters(), network.named_buffers())
        values = [[name, tensor_name(value)] for name, value in weights]
        return f"{self.class_name(type(network))} {short_digest([modules, values])}"

    def _function(self, function: Any) -> Any:
        """A function's name with its module, and a digest of what in it is no library's; what it is bound to."""
        if isinstance(function, functools.partial):
            more = [[self(each) for each in function.args], self._entries(function.keywords)]
            return {"function": self(function.func), "with": more}
        called = list(_functions(function, self._libraries))
        own = inspect.unwrap(getattr(function, "__func__", function))
        name = f"{home_of(own)}.{getattr(own, '__qualname__', type(own).__name__)}"
        named = f"{name} {short_digest([list(self._code(each)) for each in called])}" if called else name
        owner = getattr(function, "__self__", None)
        if owner is None or isinstance(owner, ModuleType):
            return named
        whole = isinstance(owner, torch.nn.Module | DiffusionPipeline) or _is_nnsights(type(owner))
        if whole or type(owner).__module__.partition(".")[0] in self._libraries:
            return {"function": named, "self": self(owner)}
        # Not as it is known elsewhere: this function sets other attributes than another one.
        known = self._known.get(id(owner))
        self._known[id(owner)] = (owner, f"a {type(owner).__name__} around it")
        described = self._object(owner, self.class_name(type(owner)), called)
        self._known[id(owner)] = known or (owner, described)
        return {"function": named, "self": described}

    def _foreign_parts(self, kind: type) -> list[Any]:
        """All of :meth:`_foreign`; a base of many classes in which there is nothing is searched once."""
        found = [] if kind in self._plain_bases else list(self._foreign(kind))
        if not found:
            self._plain_bases.add(kind)
        return found

    def _foreign(self, kind: type) -> Iterator[Any]:
        """What a class has that no library wrote: code, and in a class of a user's values too."""
        ours = kind.__module__.partition(".")[0] not in self._libraries
        for name, value in sorted(vars(kind).items()) if ours else foreign_members(kind):
            functions = list(_functions(getattr(value, "fget", None) or value, self._libraries))
            if functions:
                yield [name, *(part for each in functions for part in self._code(each))]
            elif ours and not name.startswith("__") and (is_scalar(value) or isinstance(value, _OF_A_CLASS)):
                yield from [] if self.leaves_out(name, value) else [[name, self(value)]]

    def _code(self, function: Any) -> Iterator[Any]:
        """What a function does, and with which values: its defaults, those of where it was made, its globals."""
        code = function.__code__
        yield _code_parts(code)
        yield [
            [self(value) for value in function.__defaults__ or ()],
            self._entries(function.__kwdefaults__ or {}),
        ]
        rebound = set() if self._collections else _names(code, "STORE_DEREF", "STORE_GLOBAL")
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        reached = [(name, _content(cells[name])) for name in sorted(cells.keys() - rebound)]
        if not _is_installed(code):
            around = function.__globals__
            of_module = (_names(code, "LOAD_GLOBAL", "LOAD_NAME") & around.keys()) - rebound
            reached += [(name, around[name]) for name in sorted(of_module)]
        for name, value in reached:
            if not self.leaves_out(name, value):
                yield [name, self(value)]

    def _tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """What makes ids of a text; its words by number, some of them, and what a sentence becomes."""
        n_words = len(tokenizer)
        some = list(range(0, n_words, max(1, n_words // _WORDS_READ)))
        settings = ("padding_side", "truncation_side", "model_max_length", "chat_template")
        return {
            "class": self.class_name(type(tokenizer)),
            **{name: self(getattr(tokenizer, name, None)) for name in settings},
            "special_tokens": self({name: str(word) for name, word in tokenizer.special_tokens_map.items()}),
            "words": n_words,
            "vocabulary": short_digest(tokenizer.convert_ids_to_tokens(some)),
            "ids_of_a_sentence": short_digest(tokenizer.encode(_PROBE)),
        }


def tensor_name(tensor: torch.Tensor) -> str:
    """A tensor's dtype and shape, and a digest of its values."""
    values = "without values" if tensor.is_meta else values_digest(tensor)[:12]
    return f"tensor {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} {values}"


def is_scalar(value: Any) -> bool:
    """Whether a value is a single number, text, truth value, dtype or None."""
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


_UNTOUCHED: dict[type | ModuleType, tuple[Any, ...]] = {}
"""Classes and modules of libraries in which nothing foreign was found, and what they held."""


def foreign_members(owner: type | ModuleType) -> list[tuple[str, Any]]:
    """What in a library's class or module is of no library, by name; looked for again once it holds other things."""
    held, before = tuple(vars(owner).values()), _UNTOUCHED.get(owner, ())
    if len(held) == len(before) and all(map(operator.is_, held, before)):
        return []
    found = [
        (name, value)
        for name, value in sorted(vars(owner).items())
        if is_foreign(getattr(value, "fget", None) or value)
    ]
    if not found:
        _UNTOUCHED[owner] = held
    return found


def is_foreign(function: Any) -> bool:
    """Whether a function, or what wraps it, is of no library whose version is known."""
    return isinstance(function, _CALLING) and any(True for _ in _functions(function))


def _functions(value: Any, libraries: Set[str] = KNOWN_CODE) -> Iterator[Any]:
    """The functions that run when this one is called and are of no known library: itself and what it wraps."""
    while isinstance(value, _CALLING):
        value = getattr(value, "__func__", getattr(value, "func", value))
        if hasattr(value, "__code__") and home_of(value).partition(".")[0] not in libraries:
            yield value
        value = getattr(value, "__wrapped__", None)


def _names(code: CodeType, *operations: str) -> set[str]:
    """The names with which a function's code, or code inside it, does one of these operations."""
    own = {each.argval for each in dis.get_instructions(code) if each.opname in operations}
    return own.union(*(_names(each, *operations) for each in code.co_consts if isinstance(each, CodeType)))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return "empty"


def _is_installed(code: CodeType) -> bool:
    """Code of an installed package: its globals are known with it, and may be all of the package."""
    return "site-packages" in code.co_filename or "dist-packages" in code.co_filename


def _is_nnsights(kind: type) -> bool:
    return any(base.__module__.partition(".")[0] == "nnsight" for base in kind.__mro__)


def _attributes(value: Any) -> dict[str, Any]:
    """An object's attributes, in slots or not."""
    kind: Any = type(value)
    slots = _slots(kind)
    return {
        **{name: getattr(value, name) for name in slots if hasattr(value, name)},
        **getattr(value, "__dict__", {}),
    }


@functools.lru_cache(maxsize=1024)
def _slots(kind: Any) -> list[str]:
    """Names of a class's slots, which it has from its making on."""
    members = {name: each for base in kind.__mro__ for name, each in vars(base).items()}
    return sorted({name for name, each in members.items() if inspect.ismemberdescriptor(each)} - {"__dict__"})


def _code_parts(code: CodeType) -> list[Any]:
    constants = [
        _code_parts(constant)
        if isinstance(constant, CodeType)
        else sorted(map(repr, constant))  # in one order, whatever texts hash to
        if isinstance(constant, frozenset)
        else repr(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), constants]


def short_digest(value: Any, length: int = 12) -> str:
    """The first digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]
