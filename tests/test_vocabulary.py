"""Every list of words has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ditscope
from ditscope import vocabulary
from ditscope.vocabulary import BLOCK_ENDS, EDITABLE_SITES, MODULATION, SITES, passing_order, site_spec

ROOT = Path(ditscope.__file__).parent
LISTS = {
    name: list(words)
    for name, words in vars(vocabulary).items()
    if name.isupper()
    # Arrays name a few of their dims everywhere, and counts go together without statistics.
    and name not in ("HIDDEN_DIMS", "VALUE_DIMS", "STATISTIC_ARRAYS", "READ_STATISTICS")
}


def second_homes(source: str) -> list[tuple[int, str]]:
    """Line and name of every literal that lists two or more of a vocabulary's words again, in the vocabulary's order.

    Another order is data of its own: that of streams in a tensor, say.
    """
    lists = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            words = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            if len(words) == len(node.elts) > 1:
                again = {name: [word for word in known if word in words] for name, known in LISTS.items()}
                same = sorted if isinstance(node, ast.Set) else list
                lists += [(node.lineno, name) for name, found in again.items() if same(found) == same(words)]
    return lists


# Which streams and sites the blocks of a family have is data of its own.
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in ROOT.rglob("*.py")
        if path.name not in ("vocabulary.py", "block_lists.py") and path.parent.name != "families"
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_list_is_written_a_second_time(path):
    assert not second_homes(path.read_text(encoding="utf-8"))


def test_a_second_home_would_be_seen():
    assert second_homes("STREAMS = ('image', 'text')") == [(1, "STREAMS")]
    assert second_homes("if names == {'uncond', 'cond'}:\n    pass") == [(1, "BRANCHES")]
    assert second_homes("kept = ['mean', 'std']") == [(1, "RECORDED_STATISTICS")]
    assert not second_homes("in_the_tensor = ('text', 'image')")
    assert not second_homes("pair = ('text', 'latents')")


def test_the_sites_say_what_they_are():
    assert list(SITES) == [spec.name for spec in SITES.values()]
    assert MODULATION == ("attn_shift", "attn_scale", "attn_gate", "mlp_shift", "mlp_scale", "mlp_gate")
    assert BLOCK_ENDS == ("block_input", "block_output")
    assert set(EDITABLE_SITES) == set(SITES)
    assert not site_spec("attn_gate").has_tokens
    assert site_spec("attn_gate").dtype == "float32"
    assert site_spec("of_a_newer_recorder").has_tokens


def test_sites_are_passed_stream_by_stream_only_in_modulation():
    order = passing_order(["block_output", "mlp_gate", "attn_shift", "block_input"], ["text", "image"])
    assert order == [
        ("block_input", "image"),
        ("block_input", "text"),
        ("attn_shift", "image"),
        ("mlp_gate", "image"),
        ("attn_shift", "text"),
        ("mlp_gate", "text"),
        ("block_output", "image"),
        ("block_output", "text"),
    ]
