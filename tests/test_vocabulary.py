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
    name: set(words)
    for name, words in vars(vocabulary).items()
    if name.isupper()
    and name not in ("HIDDEN_DIMS", "VALUE_DIMS")  # arrays name a few of their dims everywhere
}


def second_homes(source: str) -> list[tuple[int, str]]:
    """Line and name of every literal that lists a vocabulary's words again, two of them or more."""
    lists = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            words = {each.value for each in node.elts if isinstance(each, ast.Constant)}
            if len(words) == len(node.elts) > 1:
                lists += [(node.lineno, name) for name, known in LISTS.items() if words <= known]
    return lists


# A family's file says which streams and branches its blocks have, and in which order: that is data of its own.
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in ROOT.rglob("*.py")
        if path != Path(vocabulary.__file__) and path.parent.name != "families"
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_list_is_written_a_second_time(path):
    assert not second_homes(path.read_text(encoding="utf-8"))


def test_a_second_home_would_be_seen():
    assert second_homes("STREAMS = ('text', 'image')") == [(1, "STREAMS")]
    assert not second_homes("pair = ('text', 'latents')")


def test_the_sites_say_what_they_are():
    assert list(SITES) == [spec.name for spec in SITES.values()]
    assert MODULATION == ("attn_shift", "attn_scale", "attn_gate", "mlp_shift", "mlp_scale", "mlp_gate")
    assert BLOCK_ENDS == ("block_input", "block_output")
    assert set(EDITABLE_SITES) == set(SITES) - set(MODULATION)
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
