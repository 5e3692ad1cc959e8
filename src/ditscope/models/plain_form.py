"""What something in memory is, as JSON that is equal for two things that do the same.

Names of classes and functions stand for the code of a library, whose version is known beside them. Other code, a
user's class or a method put in a library's place, comes with a digest, since its name says nothing of what it does.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import json
import math
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from transformers import PreTrainedTokenizerBase

from ditscope.models._internals import home_of
from ditscope.models.fingerprint import sampled_values

LIBRARIES = {
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

_WORDS_READ = 256
_PROBE = "A small RED naïve star, left"


class PlainForm:
    """Makes plain forms; an object or a class that comes again is described once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """The value as JSON: plain values themselves, tensors by a digest, objects by class and attributes.

        Networks and pipelines are named only. Devices are left out: where it runs is not what runs.
        """
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
            # Kept with the object, so that its id is not given to another one; and before it is done, for circles.
            self._known[id(value)] = (value, f"a {type(value).__name__} around it")
            known = self._known[id(value)] = (value, self._described(value))
        return known[1]

    def class_name(self, kind: type) -> str:
        """A class's name with its module, and a digest of what in it is no library's."""
        if id(kind) not in self._known:
            own = [part for base in kind.__mro__ for part in self._foreign(base)]
            name = f"{kind.__module__}.{kind.__qualname__}"
            self._known[id(kind)] = (kind, f"{name} {digest(own)}" if own else name)
        return str(self._known[id(kind)][1])

    def _described(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        if isinstance(value, torch.Tensor):
            return tensor_name(value)
        if isinstance(value, np.ndarray):
            return f"array {value.dtype} {value.shape} {digest(value.tobytes().hex())}"
        if isinstance(value, np.generic):
            return self(value.item())
        if isinstance(value, Mapping):
            return self._entries(value)
        if isinstance(value, list | tuple):
            return [self(inner) for inner in value]
        if isinstance(value, set | frozenset):
            return sorted((self(inner) for inner in value), key=repr)
        if isinstance(value, functools.partial):
            return {"function": self(value.func), "with": [self(value.args), self(value.keywords)]}
        if inspect.isroutine(value):
            return self.function(value)
        if isinstance(value, PreTrainedTokenizerBase):
            return self._tokenizer(value)
        if isinstance(value, torch.nn.Module | DiffusionPipeline):
            return self.class_name(type(value))
        named = self.class_name(type(value))
        if (
            isinstance(value, ModuleType)
            or type(value).__module__.partition(".")[0] in sys.stdlib_module_names
        ):
            return named
        left_out = _PROGRESS if isinstance(value, SchedulerMixin) else ()
        kept = {
            "config" if name == "_internal_dict" else name: inner  # diffusers' configuration
            for name, inner in getattr(value, "__dict__", {}).items()
            if name not in left_out
        }
        return {"class": named, **self._entries(kept)}

    def _entries(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        kept = ((name, value) for name, value in values.items() if name not in _SOURCES)
        return {str(name): self(value) for name, value in kept if not isinstance(value, torch.device)}

    def function(self, function: Any) -> str:
        """A function's name with its module, and a digest of its code where that is no library's."""
        own = inspect.unwrap(getattr(function, "__func__", function))
        name = f"{home_of(own)}.{getattr(own, '__qualname__', type(own).__name__)}"
        return f"{name} {digest(list(self._code(own)))}" if _is_foreign(own) else name

    def _foreign(self, kind: type) -> Iterator[Any]:
        """What a class has that no library wrote: code, and in a class of a user's plain values too."""
        ours = kind.__module__.partition(".")[0] not in LIBRARIES
        for name, value in sorted(vars(kind).items()):
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if inspect.isfunction(function) and _is_foreign(inspect.unwrap(function)):
                yield [name, *self._code(inspect.unwrap(function))]
            elif ours and not name.startswith("__") and is_scalar(value):
                yield [name, self(value)]

    def _code(self, function: Any) -> Iterator[Any]:
        """What a function does, and with which numbers: those of its defaults and of where it was made."""
        yield _code_parts(function.__code__)
        # Not what it gathers: a hook that keeps what it sees does the same afterwards.
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            yield self(value) if is_scalar(value) else None
        found = inspect.getclosurevars(function)
        for name, value in sorted({**found.globals, **found.nonlocals}.items()):
            if is_scalar(value) or (inspect.isfunction(value) and _is_foreign(value)):
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
            "vocabulary": digest(tokenizer.convert_ids_to_tokens(some)),
            "ids_of_a_sentence": digest(tokenizer.encode(_PROBE)),
        }


def tensor_name(tensor: torch.Tensor) -> str:
    """A tensor's dtype and shape, and a digest of some of its values."""
    values = "without values" if tensor.is_meta else digest(sampled_values(tensor).hex())
    return f"tensor {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} {values}"


def is_scalar(value: Any) -> bool:
    """Whether a value is a single number, text, truth value, dtype or None."""
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def _is_foreign(function: Any) -> bool:
    return hasattr(function, "__code__") and home_of(function).partition(".")[0] not in LIBRARIES


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


def digest(value: Any, length: int = 12) -> str:
    """The first digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]
