"""``dit.blocks``: a block by name, and a table in place of the modules."""

from __future__ import annotations

import pytest

import ditscope as ds
from ditscope.errors import InputError
from ditscope.models.blocks import Blocks


def test_a_block_is_found_by_its_name_and_its_position(dit) -> None:
    assert dit.blocks["single.5"] is dit.blocks[9] is tuple(dit.blocks)[9]
    assert dit.blocks["double.0"] is dit.blocks[-10]
    assert [block.name for block in dit.blocks[3:5]] == ["double.3", "single.0"]
    assert isinstance(dit.blocks[3:5], Blocks)


@pytest.mark.parametrize(
    ("name", "words"), [("single", "stands for 6 blocks"), ("single.9", "block 'single.9'")]
)
def test_a_name_of_none_or_of_several_is_refused(dit, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dit.blocks[name]


def test_they_show_kinds_streams_and_sites_and_no_modules(dit) -> None:
    shown = repr(dit.blocks)
    assert shown.splitlines()[0] == "10 blocks"
    assert "double.0 to double.3  0 to 3  image and text  block_input" in shown
    assert "Linear" not in shown
    assert len(shown) < 600
    assert "<td" in dit.blocks._repr_html_()


def test_a_block_stands_for_itself_wherever_blocks_are_named(dit) -> None:
    assert ds.edits.zero([1], blocks=[dit.blocks[3], "single.0"]) == ds.edits.zero(
        [1], blocks=[3, "single.0"]
    )
    assert ds.edits.zero([1], blocks=dit.blocks["single.5"]) == ds.edits.zero([1], blocks=[9])
    assert ds.edits.zero([1], blocks=dit.blocks[:2]) == ds.edits.zero([1], blocks=[0, 1])
