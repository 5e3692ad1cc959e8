"""Random numbers that are a sample's and a place's own."""

from __future__ import annotations

import numpy as np
import torch

import edits_by_hand
from ditscope.edits.seeded import seeded

HIDDEN = torch.zeros(2, 3, 4)


def test_the_key_is_the_documented_one(at_place) -> None:
    context = at_place(HIDDEN, step=2, block=5, branch="uncond")
    place = (2, "uncond", 5, "image", "block_output")
    for per, kept in (("place", place), ("step", (2,)), ("run", ())):
        drawn = seeded(context, 1, 9, per, 3, channel=7).random(5)
        expected = edits_by_hand.random_of(("b", 2), kept, seed=9, draw=3, channel=7).random(5)
        assert np.array_equal(drawn, expected)


def test_what_tells_places_apart_tells_their_numbers_apart(at_place) -> None:
    def first(row=0, seed=0, draw=0, channel=0, **place) -> float:
        return seeded(at_place(HIDDEN, **place), row, seed, "place", draw, channel).random()

    places = [{}, {"step": 1}, {"block": 4}, {"branch": "uncond"}, {"samples": (("a", 9), ("b", 2))}]
    numbers = [first(**place) for place in [*places, {"row": 1}, {"seed": 1}, {"draw": 1}, {"channel": 1}]]
    assert len(set(numbers)) == len(numbers)
    assert first(first=3) == first()  # the position, where prompt and seed tell the sample


def test_what_has_no_prompt_or_no_seed_goes_by_its_position(at_place) -> None:
    for samples in ((("a", None), ("a", None)), ((None, 1), (None, 1))):
        drawn = [
            seeded(at_place(HIDDEN, samples=samples, first=first), row, 0, "run").random()
            for first, row in ((0, 0), (0, 1), (1, 0))
        ]
        assert drawn[0] != drawn[1] == drawn[2]


def test_few_numbers_are_the_first_of_many(at_place) -> None:
    """Padding does not change what the tokens before it get."""
    context = at_place(HIDDEN)
    for draw in (
        lambda random, n: random.standard_normal(n, dtype=np.float32),
        lambda random, n: random.integers(2**63 - 1, size=n),
    ):
        few, many = (draw(seeded(context, 0, 0, "run"), n) for n in (1000, 5000))
        assert np.array_equal(few, many[:1000])
