"""Words of the command line as values of Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from ditscope.cli._options import named_values, numbers, read_prompts, selection
from ditscope.errors import InputError


@pytest.mark.parametrize(
    ("text", "values"),
    [("3", [3]), ("0,5,-1", [0, 5, -1]), ("0:4", [0, 1, 2, 3]), ("0:20:5,19", [0, 5, 10, 15, 19])],
)
def test_numbers_are_pythons(text: str, values: list[int]) -> None:
    assert numbers("--steps", text) == values


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:", "0:9:0", "0:1:2:3", "1.5", "4:0"])
def test_what_is_no_number_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(InputError, match=r"--steps .*0:20:5"):
        numbers("--steps", text)


def test_a_selection_holds_what_was_given() -> None:
    kept = selection("image, text", "block_output", "0,-1, --1,single.5 , double", "0, -1", " cond", None)
    assert kept == {
        "streams": ["image", "text"],
        "sites": ["block_output"],
        "blocks": [0, -1, "--1", "single.5", "double"],
        "steps": [0, -1],
        "branches": ["cond"],
    }


def test_values_are_json_where_they_are() -> None:
    pairs = ["a=2.5", "b=a blue star", "c=[0, -1]", "d="]
    assert named_values("--call", pairs, height=32, width=None) == {
        "height": 32, "a": 2.5, "b": "a blue star", "c": [0, -1], "d": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["guidance_scale"], "NAME=VALUE"),
        (["height=32"], "expected height once, and by its own option"),
        (["guidance_scale=1", "guidance_scale=2"], "expected guidance_scale once"),
    ],
)
def test_a_pair_that_is_none_is_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        named_values("--call", pairs, height=None)


def test_prompts_are_the_lines_that_are_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\n  two \n", encoding="utf-8")
    assert read_prompts(path) == ["one", "two"]
    with pytest.raises(InputError, match="no file"):
        read_prompts(tmp_path / "other.txt")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("picture", "block_output"), "--streams name 'picture'"),
        (("image", "output"), "--sites name 'output'"),
    ],
)
def test_unknown_names_are_refused_with_the_option(given: tuple[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        selection(*given, None, None, None, None)
