"""Prompts by their words."""

from __future__ import annotations


def test_words_are_found_in_any_order_and_case(ask) -> None:
    for words, prompts, samples in (
        ("CIRCLE red", ["a red circle"], [0]),
        ("dreieck", ["ein grünes Dreieck <b>"], [2]),
        ("e", ["a red circle", "ein grünes Dreieck <b>"], [0, 2]),
        ("red dreieck", [], []),
        ("  ", [], []),
    ):
        said = ask("prompt_search", words=words)
        assert (said.values["prompts"], said.arrays["sample"].tolist()) == (prompts, samples)
        assert said.values["found"] == len(prompts)


def test_prompts_of_a_comparison_are_found_too(ask, stores) -> None:
    first, second = dict.fromkeys(stores[1].result["prompt"].values)
    assert ask("prompt_search", 1, words=second).values["prompts"] == [second]
    assert ask("prompt_search", 1, words=first).arrays["sample"].tolist() == [0]
