"""Modules are described again as soon as anything in them is other than it was, and else not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook

from ditscope.models.plain_form import PlainForm
from ditscope.models.seen_modules import described_once


class Scaled(torch.nn.Linear):
    """A module with attributes of every kind: such as cannot change, a list, an object."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.scale, self.size, self.axes = 0.5, (1, 2), [1, 2]
        self.processor = SimpleNamespace(heads=2)


class Doubled(Scaled):
    """The same under another name."""


class Descriptions:
    """How often a network was described."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network, self.made = network, 0

    def again(self) -> int:
        """The number of the description that is given now."""
        described = described_once(
            self.network, list(self.network.named_modules()), PlainForm(), self._describe
        )
        return described["number"]

    def _describe(self) -> dict:
        self.made += 1
        return {"number": self.made}


@pytest.fixture
def descriptions() -> Descriptions:
    return Descriptions(torch.nn.Sequential(Scaled(), Scaled()))


def test_modules_that_are_as_they_were_are_described_once(descriptions) -> None:
    with torch.no_grad():
        descriptions.network[0].weight += 1  # weights are looked at elsewhere
    assert [descriptions.again() for _ in range(3)] == [1, 1, 1]


CHANGES: dict[str, Callable[[Scaled], object]] = {
    "a number": lambda module: setattr(module, "scale", 0.25),
    "a truth value in the place of a number": lambda module: setattr(module, "scale", True),
    "a tuple": lambda module: setattr(module, "size", (1, 3)),
    "an entry of a list": lambda module: module.axes.append(3),
    "an attribute of an object": lambda module: setattr(module.processor, "heads", 4),
    "a number in an object, of another type": lambda module: setattr(module.processor, "heads", 2.0),
    "an object of another class": lambda module: setattr(module, "processor", Descriptions(module)),
    "a further attribute": lambda module: setattr(module, "more", 1),
    "an attribute that is gone": lambda module: delattr(module, "scale"),
    "the class": lambda module: setattr(module, "__class__", Doubled),
    "a module inside": lambda module: module.add_module("inner", torch.nn.Identity()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_described(descriptions, change) -> None:
    assert descriptions.again() == 1
    change(descriptions.network[1])
    assert [descriptions.again() for _ in range(2)] == [2, 2]


def test_a_method_that_was_put_into_a_class_is_described(descriptions, monkeypatch) -> None:
    assert descriptions.again() == 1
    monkeypatch.setattr(Scaled, "forward", lambda self, x: x)
    assert descriptions.again() == 2


def test_what_takes_the_place_in_memory_of_a_number_is_described(descriptions) -> None:
    module = descriptions.network[1]
    for number in range(20):
        module.scale = None  # the number before is let go, and the next one would take its place
        module.scale = number / 8
        assert descriptions.again() == number + 1


def test_classes_that_were_exchanged_are_described(descriptions) -> None:
    first, second = descriptions.network
    first.__class__ = Doubled
    assert descriptions.again() == 1
    first.__class__, second.__class__ = Scaled, Doubled
    assert descriptions.again() == 2


def test_diffusers_hooks_are_described_every_time(descriptions) -> None:
    apply_layerwise_casting_hook(descriptions.network[0], torch.float16, torch.float32, non_blocking=False)
    assert [descriptions.again() for _ in range(2)] == [1, 2]


def test_modules_that_were_replaced_are_let_go(descriptions) -> None:
    assert descriptions.again() == 1
    weight = weakref.ref(descriptions.network[1].weight)
    descriptions.network[1] = Scaled()
    gc.collect()
    assert weight() is None


def test_attributes_of_torchs_own_that_come_in_another_order_hide_nothing(descriptions) -> None:
    module = descriptions.network[1]
    own = dict(vars(module))
    vars(module).clear()
    vars(module).update(reversed(own.items()))
    assert descriptions.again() == 1
    module.scale = 0.25
    assert descriptions.again() == 2
    module.training = False
    assert descriptions.again() == 3


def test_the_mode_is_described(descriptions) -> None:
    assert descriptions.again() == 1
    descriptions.network[1].training = False
    assert descriptions.again() == 2
