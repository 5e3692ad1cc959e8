"""Which modules are read, and what is refused of them; on tiny pipelines in ``tests/families``."""

from __future__ import annotations

import types

import pytest
import torch

from ditscope.errors import UnsupportedError
from ditscope.models.replaced_modules import (
    named_modules,
    read_modules,
    refuse_changed,
    refuse_replaced,
    refuse_unread,
)


@pytest.fixture
def transformer(dit):
    return dit.diffusers_pipeline.transformer


def test_the_transformer_and_its_blocks_have_the_names_of_dit_blocks(dit, transformer) -> None:
    named = dict(named_modules(dit.family, transformer))
    assert list(named) == ["transformer", *(block.name for block in dit.blocks)]
    assert named["transformer"] is transformer
    assert named["single.2"] is transformer.single_transformer_blocks[2]


def test_the_modules_that_are_read_are_those_of_the_taps_and_those_around_them(dit, transformer) -> None:
    read = dict(read_modules(dit.family, transformer))
    inside = {name.removeprefix("double.1.") for name in read if name.startswith("double.1.")}
    assert inside == {
        *("norm1", "norm1.linear", "norm1.norm", "norm1_context", "norm1_context.linear"),
        *("norm1_context.norm", "attn", "ff", "ff_context", "norm2", "norm2_context"),
    }
    assert read["double.1.norm1.linear"] is transformer.transformer_blocks[1].norm1.linear


def test_a_module_that_a_block_does_not_have_at_all_is_not_read_and_one_inside_it_is_missed(
    dit, transformer, monkeypatch
) -> None:
    block = transformer.transformer_blocks[1]
    norm = block.norm1
    monkeypatch.setitem(block._modules, "norm1", None)
    assert not [
        name for name, _ in read_modules(dit.family, transformer) if name.startswith("double.1.norm1.")
    ]
    monkeypatch.setitem(block._modules, "norm1", torch.nn.Sequential(norm))
    with pytest.raises(UnsupportedError, match=r"double\.1\.norm1\.linear missing in a Sequential"):
        list(read_modules(dit.family, transformer))


def test_what_diffusers_wrote_is_not_refused(dit, transformer) -> None:
    refuse_replaced(dit.family, transformer)
    refuse_unread(dit.run_state, dict(read_modules(dit.family, transformer)))


def test_a_transformer_of_another_class_is_refused(dit) -> None:
    with pytest.raises(UnsupportedError, match="a Identity without transformer_blocks as transformer"):
        refuse_replaced(dit.family, torch.nn.Identity())


def test_a_forward_of_ones_own_is_refused_on_a_block_and_where_it_goes_around_nnsight(
    dit, transformer, monkeypatch
) -> None:
    block = transformer.transformer_blocks[1]
    own = types.MethodType(lambda self, *args, **kwargs: None, block)
    monkeypatch.setitem(block.__dict__, "forward", own)
    read = dict(read_modules(dit.family, transformer))
    for refuse in (
        lambda: refuse_replaced(dit.family, transformer),
        lambda: refuse_unread(dit.run_state, read),
    ):
        with pytest.raises(UnsupportedError, match=r"double\.1 with a forward from .*test_replaced_modules"):
            refuse()
    monkeypatch.undo()
    monkeypatch.delitem(block.ff.__dict__, "forward")
    with pytest.raises(UnsupportedError, match=r"double\.1\.ff with a forward put back"):
        refuse_unread(dit.run_state, read)


def test_a_module_that_is_another_after_the_run_is_refused(dit, transformer, monkeypatch) -> None:
    before = dict(read_modules(dit.family, transformer))
    refuse_changed(before, dit.family, transformer)
    monkeypatch.setitem(transformer.single_transformer_blocks[0]._modules, "attn", torch.nn.Identity())
    with pytest.raises(UnsupportedError, match=r"single\.0\.attn replaced while the run was read"):
        refuse_changed(before, dit.family, transformer)
