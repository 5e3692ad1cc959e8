"""Arguments by name, however they came."""

from __future__ import annotations

import pytest
import torch

from ditscope.models.module_arguments import argument, named_arguments, parameter_names, with_argument


class Network(torch.nn.Module):
    def forward(self, x, /, hidden=None, temb=None, *rest, scale=1.0, **more):
        return x


NAMES = ("x", "hidden", "temb")


def test_the_names_are_those_of_the_class_whatever_wraps_an_instance() -> None:
    module = Network()
    module.forward = lambda *args, **kwargs: None
    assert parameter_names(module) == NAMES


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((1, 2, 3), {}, (1, 2, 3)),
        ((1,), {"temb": 3, "hidden": 2}, (1, 2, 3)),
        ((1, 2), {}, (1, 2, None)),
        ((1, 2, 3, 4), {"other": 5}, (1, 2, 3)),
    ],
)
def test_an_argument_is_found_by_name(args, kwargs, expected) -> None:
    assert tuple(argument(NAMES, (args, kwargs), name) for name in NAMES) == expected
    named = named_arguments(Network(), args, kwargs)
    assert {name: value for name, value in zip(NAMES, expected, strict=True) if value is not None} == {
        name: named[name] for name in NAMES if name in named
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "name", "expected"),
    [
        ((1, 2, 3), {}, "hidden", ((1, 9, 3), {})),
        ((1,), {"hidden": 2, "temb": 3}, "hidden", ((1,), {"hidden": 9, "temb": 3})),
        ((1,), {}, "temb", ((1,), {"temb": 9})),
    ],
)
def test_an_argument_is_replaced_in_the_way_in_which_it_came(args, kwargs, name, expected) -> None:
    given = dict(kwargs)
    assert with_argument(NAMES, (args, kwargs), name, 9) == expected
    assert kwargs == given
