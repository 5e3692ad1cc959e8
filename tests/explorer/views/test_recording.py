"""The labels of every slider."""

from __future__ import annotations


def test_it_has_what_was_recorded_and_nothing_that_was_not_committed(ask) -> None:
    said = ask("recording")
    values, arrays = said.values, said.arrays
    assert arrays["sample"].tolist() == [0, 1, 2]
    assert (arrays["prompt"].tolist(), arrays["seed"].tolist()) == ([0, 0, 1], [0, 7, 0])
    assert arrays["channel"].tolist() == list(range(3, 73))
    assert [each["step"] for each in values["steps"]] == [1, 3]
    assert [each["block"] for each in values["blocks"]] == [0, 1, 4]
    assert values["streams"]["image"] == {"tokens": 12, "height": 3, "width": 4}
    assert values["streams"]["text"] == {"tokens": 5, "height": None, "width": None}
    sites = {(each["stream"], each["site"]): each for each in values["sites"]}
    assert sites["image", "block_output"]["tokens"]
    assert not sites["image", "attn_gate"]["tokens"]
    assert (values["samples_planned"], values["images"], values["branches"]) == (4, True, ("cond", "uncond"))
