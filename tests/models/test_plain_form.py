"""Plain forms: JSON that is equal for two things that do the same, and differs for two that do not."""

from __future__ import annotations

import enum
import functools
import json
import threading
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from ditscope.models.plain_form import PlainForm, foreign_members


class Kind(enum.Enum):
    """An enumeration."""

    ONE = 1


class Holder:
    """An object with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (float("inf"), "inf"),
        (torch.bfloat16, "bfloat16"),
        (torch.Size([2, 3]), [2, 3]),
        ({"b", "a"}, ["a", "b"]),
        (Kind.ONE, "Kind.ONE"),
        ({1: (True, None)}, {"1": [True, None]}),
        (deque([1, 2]), [1, 2]),
        (SimpleNamespace(scale=1), {"class": "types.SimpleNamespace", "scale": 1}),
        (Fraction(1, 2), {"class": "fractions.Fraction", "_numerator": 1, "_denominator": 2}),
        (Decimal("0.5"), {"class": "decimal.Decimal", "value": "Decimal('0.5')"}),
        (PurePosixPath("a/b"), "a/b"),
        (threading.Lock(), {"class": "_thread.lock"}),
        (iter([1]), "builtins.list_iterator"),
        (np.array([{"a": 1}], dtype=object), None),
        (torch.nn.functional.silu, "torch.nn.functional.silu"),
        (functools.partial(torch.nn.functional.relu, inplace=True), None),
        ({"a": torch.device("cpu"), "_name_or_path": "somewhere", "b": 1}, {"b": 1}),
        (torch, "module torch"),
    ],
)
def test_a_value_is_plain(value, form) -> None:
    plain = PlainForm()(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert form is None or plain == form


def test_labelled_values_are_the_same_after_they_were_looked_up() -> None:
    labelled = xr.DataArray([1.0, 2.0], dims="sample", coords={"sample": ["a", "b"]})
    before, same = (PlainForm(gathered=True)(each) for each in (labelled, labelled.copy(deep=True)))
    assert labelled.sel(sample="b").item() == 2
    assert PlainForm(gathered=True)(labelled) == before == same
    assert PlainForm(gathered=True)(labelled.assign_coords(sample=["a", "c"])) != before


def test_objects_are_class_and_attributes_and_may_go_round() -> None:
    circle = Holder(a=1, b=Holder(c=[2]))
    circle.b.back = circle
    plain = PlainForm()(circle)
    assert (plain["a"], plain["b"]["c"]) == (1, [2])
    assert plain["b"]["back"] == "a Holder around it"
    assert plain["class"].startswith(f"{__name__}.Holder ")


def test_tensors_are_told_by_their_values() -> None:
    plain = PlainForm()
    forms = [plain(torch.tensor(values)) for values in ([1.0, 2.0], [1.0, 2.0], [1.0, 3.0])]
    assert forms[0] == forms[1] != forms[2]
    assert forms[0].startswith("tensor float32 (2,) ")
    assert plain(torch.ones(2, device="meta")) == "tensor float32 (2,) without values"
    assert plain(torch.ones(2, dtype=torch.complex64)) != plain(torch.zeros(2, dtype=torch.complex64))


def test_code_of_no_library_is_told_by_what_it_does() -> None:
    def made(source: str, name: str) -> Any:
        space: dict[str, Any] = {"__name__": "mine"}
        exec(source, space)
        return space[name]

    body = "def f(x, by={}):\n    return x * by"
    forms = [PlainForm()(made(body.format(by), "f")) for by in (2, 2, 3)]
    assert forms[0] == forms[1] != forms[2]
    body = "class C:\n    size = {}\n    def f(self):\n        return {!r}"
    forms = [PlainForm()(made(body.format(*of), "C")) for of in ((1, "a"), (1, "a"), (2, "a"), (1, "b"))]
    assert forms[0] == forms[1]
    assert len(set(forms)) == 3


def test_a_method_put_in_a_librarys_place_shows_in_the_classes_name(monkeypatch) -> None:
    before = PlainForm().class_name(torch.nn.SiLU)
    monkeypatch.setattr(torch.nn.SiLU, "forward", lambda self, x: x)
    assert PlainForm().class_name(torch.nn.SiLU).startswith(f"{before} ")


class Slots:
    """An object without a ``__dict__``."""

    __slots__ = ("scale",)

    def __init__(self, scale: float) -> None:
        self.scale = scale


class Steer:
    """A hook with what it computes with and what it notes."""

    def __init__(self, scale: Any) -> None:
        self.scale, self.seen, self.calls = scale, [], 0

    def hook(self, module: Any, arguments: Any, output: Any) -> Any:
        self.seen.append(output)
        self.calls += 1
        return output * self.scale

    __call__ = hook


class Lyco(torch.nn.Module):
    """A module whose forward is put in another one's place."""

    def __init__(self, multiplier: float = 1.0, weight: float = 1.0) -> None:
        super().__init__()
        self.multiplier = multiplier
        self.weight = torch.nn.Parameter(torch.full((2,), weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.multiplier * self.weight


def around(scale: Any, by: Any = 0) -> Callable[..., Any]:
    return lambda module, arguments, output, by=by: output * scale + by


def with_global(scale: Any, **space: Any) -> Callable[..., Any]:
    """A function with a global variable."""
    space |= {"__name__": "mine", "scale": scale}
    exec("def hook(module, arguments, output):\n    return output * scale", space)
    return space["hook"]


def many_weights(at: int, value: float) -> torch.nn.Module:
    network = torch.nn.ParameterList([torch.zeros(4096)])
    network[0].data[at] = value
    return network


VALUES: dict[str, tuple[Any, Any]] = {
    "a number": (1.0, 9.0),
    "a tensor": (torch.ones(2), torch.zeros(2)),
    "one of many values": (torch.zeros(4096), torch.zeros(4096).index_fill_(0, torch.tensor([5]), 1.0)),
    "an array": (np.ones(2), np.zeros(2)),
    "an object": (Holder(scale=1), Holder(scale=9)),
    "an object of the standard library": (SimpleNamespace(scale=1), SimpleNamespace(scale=9)),
    "an object with slots": (Slots(1), Slots(9)),
    "a tuple": ((1, 2), (1, 3)),
    "a network": (Lyco(weight=1.0), Lyco(weight=9.0)),
    "one of a network's many weights": (
        many_weights(5, 0.0),
        many_weights(5, 1.0),
    ),
    "an attribute of a network": (Lyco(1.0), Lyco(9.0)),
    "a method": (Steer(1).hook, Steer(9).hook),
}
REACHED: dict[str, Callable[[Any], Any]] = {
    "by its object": lambda value: Steer(value).hook,
    "as an object": Steer,
    "from around": around,
    "as default": lambda value: around(1, value),
    "as global": with_global,
    "as argument": lambda value: functools.partial(Steer(1), value),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("reached", REACHED)
def test_a_function_is_told_by_the_values_that_it_reaches(reached, value) -> None:
    hooks = [REACHED[reached](each) for each in VALUES[value]]
    for gathered in (False, True):
        forms = [PlainForm(gathered=gathered).function(hook) for hook in (*hooks, hooks[0])]
        assert forms[0] == forms[2] != forms[1]


def test_a_forward_of_a_module_is_told_by_the_module_and_one_of_a_part_by_its_class() -> None:
    modules = Lyco(), Lyco(2.0), Lyco(weight=2.0)
    assert len({json.dumps(PlainForm().function(each.forward)) for each in modules}) == 3
    assert len({json.dumps(PlainForm(modules).function(each.forward)) for each in modules}) == 1


def counting(scale: float) -> Callable[..., Any]:
    calls, last, seen = 0, None, {}

    def hook(module: Any, arguments: Any, output: Any) -> Any:
        nonlocal calls, last
        calls, last, seen[calls] = calls + 1, output, output
        return output * scale

    return hook


def collecting(seen: Any) -> Callable[..., Any]:
    return lambda module, arguments, output: seen.append(output) if hasattr(seen, "append") else seen.add(1)


@pytest.mark.parametrize(
    "hook",
    [
        *(counting(2.0), Steer(2.0), Steer(2.0).hook, collecting([]), collecting(deque()), collecting(set())),
        functools.partial(lambda seen, module, arguments, output: seen.append(output), []),
    ],
)
def test_what_a_hook_gathers_does_not_count_and_what_a_callback_has_gathered_does(hook) -> None:
    before = [PlainForm(gathered=gathered).function(hook) for gathered in (False, True)]
    hook(None, (), torch.ones(2))
    after = [PlainForm(gathered=gathered).function(hook) for gathered in (False, True)]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_what_wraps_a_librarys_function_under_its_name_is_seen() -> None:
    original = torch.nn.functional.relu
    wrapped = functools.wraps(original)(lambda x: original(x) * 2)
    assert PlainForm().function(wrapped) != PlainForm().function(original)


def test_functions_and_objects_may_go_round() -> None:
    steer = Steer(1)
    steer.scale = Holder(back=steer.hook, own=steer)
    assert "around it" in json.dumps(PlainForm().function(steer.hook))


def test_what_was_looked_through_is_looked_through_again_once_it_is_another(monkeypatch) -> None:
    """A library's class and a library's module, patched, put back, and patched by something else."""
    kind, module = torch.nn.LayerNorm, torch.nn.functional
    clean = PlainForm().class_name(kind)
    assert (foreign_members(kind), foreign_members(module)) == ([], [])
    for patch in (lambda self, x: x, lambda self, x: x + 1):
        with monkeypatch.context() as patched:
            patched.setattr(kind, "forward", patch)
            patched.setattr(module, "gelu", patch)
            assert foreign_members(kind) == [("forward", patch)]
            assert foreign_members(module) == [("gelu", patch)]
            assert PlainForm().class_name(kind) != clean
        assert (foreign_members(kind), foreign_members(module)) == ([], [])
        assert PlainForm().class_name(kind) == clean
