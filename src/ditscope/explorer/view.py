"""What a view is: a function of something that is looked at, and of plain parameters, that answers one panel.

A view is found by being there: a module of :mod:`ditscope.explorer.views` that lists it in ``__all__``, with the panel
that shows it in the JavaScript file of the same name beside it. Another distribution adds one by an entry point of the
group ``ditscope.explorer.views``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ditscope.errors import InputError, unknown_name
from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Store, listed


@dataclass(frozen=True)
class Place:
    """Where in a recording one looks.

    Attributes:
        stream: recorded stream.
        site: recorded site.
        sample: position of a committed sample.
        step: index into the scheduler's timesteps.
        branch: ``cond`` or ``uncond``.
        block: index in the model's execution order.
    """

    stream: str
    site: str
    sample: int
    step: int
    branch: str
    block: int

    @property
    def labels(self) -> dict[str, Any]:
        """What xarray's ``sel`` takes."""
        return {"sample": self.sample, "step": self.step, "branch": self.branch, "block": self.block}


@dataclass(frozen=True)
class View:
    """A view.

    Attributes:
        function: takes what is looked at, then its parameters by name; returns a :class:`Payload`.
        of: type of what it looks at.
        parameters: name -> type, of those that a question has: int, str, float, bool, a tuple of int, or a
            :class:`Place`, whose fields are parameters themselves.
        required: those of them without a default.
    """

    function: Callable[..., Payload]
    of: type
    parameters: Mapping[str, Any]
    required: frozenset[str]

    @property
    def panel(self) -> Path:
        """The JavaScript that shows it; there need be none."""
        return Path(inspect.getfile(self.function)).with_suffix(".js")

    def __call__(self, source: Any, *values: Any, **named: Any) -> Payload:
        """Answer."""
        return self.function(source, *values, **named)

    def answer(self, source: Any, asked: Mapping[str, str]) -> Payload:
        """Answer a question whose parameters are texts.

        Raises:
            InputError: a parameter is missing, unknown, or no value of its type; it looks at something else.
        """
        if not isinstance(source, self.of):
            raise InputError(
                f"a {type(source).__name__} for {self.function.__name__}",
                self.of.__name__,
                "Ask another view.",
            )
        values: dict[str, Any] = {}
        left = dict(asked)
        for name, kind in self.parameters.items():
            if kind is Place:
                values[name] = Place(**{n: _read(n, left, k) for n, k in get_type_hints(Place).items()})
            elif name in left or name in self.required:
                values[name] = _read(name, left, kind)
        if left:
            raise unknown_name("parameter", next(iter(left)), self.parameters)
        return self(source, **values)


def view(function: Callable[..., Payload]) -> View:
    """Make a view of a function; its first parameter's type says what it looks at."""
    (first, *rest), hints = inspect.signature(function).parameters.values(), get_type_hints(function)
    required = frozenset(each.name for each in rest if each.default is each.empty)
    return View(function, hints[first.name], {each.name: hints[each.name] for each in rest}, required)


def answer(sources: Sequence[Store], name: str, asked: Mapping[str, str]) -> Payload:
    """What a view says of one of several stores: of number ``asked["store"]``; of ``stores``, which there are.

    Raises:
        InputError: there is no such view, store or parameter.
        CacheError: what is read is not what was recorded.
    """
    from ditscope.explorer.views import VIEWS

    if name == "stores":
        return Payload({"stores": [{"name": each.name, "kind": each.kind} for each in listed(sources)]})
    if name not in VIEWS:
        raise unknown_name("view", name, VIEWS)
    left = dict(asked)
    number = _read("store", left, int)
    if not 0 <= number < len(sources):
        raise InputError(f"store {number}", f"0 to {len(sources) - 1}", "Choose one that is open.")
    return VIEWS[name].answer(sources[number], left)


def _read(name: str, left: dict[str, str], kind: Any) -> Any:
    if name not in left:
        raise InputError(f"no {name}", f"the parameter {name}", "Ask with it.")
    text = left.pop(name)
    try:
        if kind is bool:
            return {"0": False, "1": True}[text]
        return kind(text) if isinstance(kind, type) else tuple(int(each) for each in text.split(",") if each)
    except (ValueError, KeyError) as error:
        raise InputError(f"{name} {text!r}", f"a value of {kind}", "Ask with another.") from error
