"""What a metric is beside its name: by its code and what stays as it is, and what its code writes into."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from ditscope.errors import InputError
from ditscope.metrics._identity import identity
from ditscope.metrics.metric import Metric

IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
SEEN: dict[int, float] = {}
WEIGHTS = {"red": 1.0}
CALLS = 0


def code_of(compute, **more) -> str:
    return identity([Metric("mine", "mine", compute, **more)], ["a"])["metric_code"]["mine"]


def by_closure():
    memo: dict[int, float] = {}

    def mine(images, weight=2.0):
        if len(images) not in memo:
            memo[len(images)] = weight
        return np.full(len(images), memo[len(images)])

    return mine


def by_method():
    kept: list[int] = []

    def mine(images):
        kept.append(len(images))
        return np.zeros(len(images))

    return mine


def by_default():
    memo: dict[int, float] = {}
    return lambda images: np.full(len(images), memo.setdefault(len(images), 1.0))


def by_item_of_an_array():
    total = np.zeros(1)

    def mine(images):
        total[0] += len(images)
        return np.zeros(len(images))

    return mine


def by_nonlocal():
    count = 0

    def mine(images):
        nonlocal count
        count += 1
        return np.zeros(len(images))

    return mine


def by_global(images):
    SEEN[len(images)] = 1.0
    return np.zeros(len(images))


def by_rebound_global(images):
    global CALLS
    CALLS += 1
    return np.zeros(len(images))


class Attribute:
    shared: ClassVar[list[int]] = []

    def __init__(self, weight=1.0):
        self.weight, self.memo, self.state = weight, {}, None

    def __call__(self, images):
        self.memo[len(images)] = self.weight
        return np.zeros(len(images))

    def lazily(self, images):
        if self.state is None:
            self.state = len(images)
        return np.zeros(len(images))

    def of_the_class(self, images):
        Attribute.shared.append(len(images))
        return np.zeros(len(images))


WRITING = {
    "memo": [by_closure, by_default, Attribute],
    "kept": [by_method],
    "total": [by_item_of_an_array],
    "count": [by_nonlocal],
    "SEEN": [lambda: by_global],
    "CALLS": [lambda: by_rebound_global],
    "state": [lambda: Attribute().lazily],
    "shared": [lambda: Attribute().of_the_class],
}


@pytest.mark.parametrize(
    ("name", "make"), [(name, each) for name, every in WRITING.items() for each in every]
)
def test_what_code_writes_into_is_named_before_its_use_and_made_of_stands_for_it(name, make) -> None:
    compute = make()
    for _ in range(2):
        with pytest.raises(InputError, match=rf"code writes into [^;]*{name}.*made_of="):
            code_of(compute)
        first = code_of(compute, made_of="one")
        compute(IMAGES)
        compute(IMAGES[:1])
        assert code_of(compute, made_of="one") == first


def test_what_stays_counts_beside_what_is_written_into() -> None:
    first = Attribute(1.0), Attribute(2.0)
    assert code_of(first[0], made_of="one") != code_of(first[1], made_of="one")
    assert code_of(by_closure(), made_of="one") != code_of(by_method(), made_of="one")


@dataclass
class Given:
    weights: dict[str, float] = field(default_factory=lambda: {"red": 1.0})

    def __call__(self, images):
        return images[..., 0].mean((1, 2)) * self.weights["red"]


@functools.cache
def loaded(name: str) -> float:
    return 1.0


def local_alone(images):
    """Writes into what ends with the call; what it reads is data."""
    rows, found = [], np.zeros(len(images))
    for at, image in enumerate(images):
        rows.append(image.mean() * loaded("a"))
        found[at] = rows[-1] * WEIGHTS["red"]
    np.add(found, 0, out=found)
    found.flags.writeable = False
    return found


def test_data_counts_and_what_ends_with_the_call_does_not(monkeypatch) -> None:
    first, own = code_of(local_alone), Given()
    local_alone(IMAGES)
    assert code_of(local_alone) == first
    before = code_of(own)
    own(IMAGES)
    assert code_of(own) == before
    own.weights["red"] = 2.0
    assert code_of(own) != before
    monkeypatch.setitem(WEIGHTS, "red", 2.0)
    assert code_of(local_alone) != first
