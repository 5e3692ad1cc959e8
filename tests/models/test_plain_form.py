"""Plain forms: JSON that is equal for two things that do the same, and differs for two that do not."""

from __future__ import annotations

import enum
import functools
import json
from typing import Any

import pytest
import torch

from ditscope.models.plain_form import PlainForm


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
        (torch.nn.SiLU(), "torch.nn.modules.activation.SiLU"),
        (torch.nn.functional.silu, "torch.nn.functional.silu"),
        (functools.partial(torch.nn.functional.relu, inplace=True), None),
        ({"a": torch.device("cpu"), "_name_or_path": "somewhere", "b": 1}, {"b": 1}),
        (torch, "builtins.module"),
    ],
)
def test_a_value_is_plain(value, form) -> None:
    plain = PlainForm()(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert form is None or plain == form


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
