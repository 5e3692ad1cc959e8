"""Samples are every prompt with every seed, and a call makes them."""

from __future__ import annotations

from ditscope.tracing.samples import call_of, pair_samples


def test_samples_are_prompt_major() -> None:
    assert pair_samples(["a", "b"], [3, 1]) == [("a", 3), ("a", 1), ("b", 3), ("b", 1)]


def test_a_call_has_a_generator_for_each_image_and_the_folders_defaults(dit) -> None:
    call = call_of(dit, [("a", 3), ("b", 1)], {"height": 32})
    assert call["prompt"] == ["a", "b"]
    assert [generator.initial_seed() for generator in call["generator"]] == [3, 1]
    assert (call["height"], call["width"]) == (32, 64)
