"""What edits that look back are told: read in which steps, at which sites, of which branch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ditscope as ds
from ditscope.edits.earlier import Earlier
from ditscope.models.visits import Visit

STEPS = range(5)


class Block:
    """A block that takes and returns given tensors."""

    index = 2

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.reads: list[str] = []

    def read(self, site: str, stream: str) -> torch.Tensor:
        assert stream == "image"
        self.reads.append(site)
        return self.tensors[site]


def pass_through(earlier: Earlier, edit: Any, block: Block, step: int, takes: float, returns: float) -> Visit:
    """One visit of both branches, whose values differ by 100."""
    visit = Visit(step, step, 0.5, 1.0, ("uncond", "cond"))
    rows = torch.tensor([0.0, 100.0])[:, None, None]
    for site, value in (("block_input", takes), ("attn_output", returns), ("block_output", returns)):
        block.tensors[site] = rows + torch.full((2, 3, 4), value)
        earlier.read(0, edit, visit, block, site, STEPS)  # type: ignore[arg-type]
    return visit


def test_at_the_output_it_is_what_the_block_takes_now_and_added_then() -> None:
    edit, block, earlier = ds.edits.reuse(blocks=2, steps=[2, 3]), Block(), Earlier()
    pass_through(earlier, edit, block, 0, 1, 5)
    assert block.reads == []
    pass_through(earlier, edit, block, 1, 1, 8)
    assert block.reads == ["block_input", "block_output"]
    for step, takes in ((2, 10.0), (3, 20.0)):
        visit = pass_through(earlier, edit, block, step, takes, 99)
        for branch, more in (("uncond", 0), ("cond", 100)):
            told = earlier.at(0, visit, block, branch)  # type: ignore[arg-type]
            assert torch.equal(told, torch.full((1, 3, 4), takes + more + 7))
    assert block.reads[2:] == ["block_input", "block_input"]


def test_inside_a_block_it_is_the_output_itself_of_the_branches_in_scope() -> None:
    edit = ds.edits.reuse(blocks=2, steps=[2, 4], branches="cond", site="attn_output")
    block, earlier = Block(), Earlier()
    for step, value in ((0, 3.0), (1, 4.0), (2, 5.0), (3, 6.0), (4, 7.0)):
        visit = pass_through(earlier, edit, block, step, 1, value)
        if step in (2, 4):
            assert earlier.at(0, visit, block, "cond").mean() == 100 + value - 1  # type: ignore[arg-type]
    assert block.reads == ["attn_output"] * 2
    with pytest.raises(KeyError):
        earlier.at(0, visit, block, "uncond")  # type: ignore[arg-type]
