"""When a prompt counts as cut."""

import json

import pytest

from ditscope.encoded_text import EncodedText, runs_of


@pytest.mark.parametrize(
    ("cut", "truncated"), [({"clip": 3, "t5": 1}, True), ({"clip": 3, "t5": 0}, False), ({}, False)]
)
def test_a_prompt_is_cut_where_no_encoder_has_seen_its_end(cut, truncated):
    assert EncodedText(cut, "ab").truncated is truncated


def test_tokens_are_written_with_how_many_follow_each_other():
    runs = runs_of(["a", "red", "<pad>", "<pad>", "a"])
    assert runs == (("a", 1), ("red", 1), ("<pad>", 2), ("a", 1))
    text = EncodedText({"t5": 1}, "ab", {"cond": runs})
    data = json.loads(json.dumps(text.to_json()))
    assert EncodedText.from_json(data) == text
    assert "tokens" not in EncodedText({"t5": 1}, "ab").to_json()


@pytest.mark.parametrize(
    "tokens", [3, ["a"], {"cond": 3}, {"cond": [["a"]]}, {"cond": [["a", "b"]]}, {"cond": [["a", -2]]}]
)
def test_what_another_tool_calls_tokens_is_left_alone(tokens):
    data = {"cut": {"t5": 1}, "digest": "ab", "tokens": tokens}
    assert EncodedText.from_json(data) == EncodedText({"t5": 1}, "ab")
