"""A function of one's own as an edit."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch

import ditscope as ds
from ditscope.edits import EditContext
from ditscope.errors import InputError

IDS = [3, 77, 120]


def rounded(context: EditContext, digits: int = 1) -> torch.Tensor:
    return context.old.round(decimals=digits)


def test_it_is_what_a_plain_hook_does(assert_does) -> None:
    edit = ds.edits.function(IDS, rounded, blocks=[1, 2], branches="uncond")
    covers = lambda visit, block: block in (1, 2) and visit % 2 == 1  # noqa: E731
    assert_does(edit, lambda old: old.round(decimals=1), ids=IDS, covers=covers)
    assert edit.label == "rounded explicit channels"


def test_it_can_be_copied_pickled_and_compared_but_not_written() -> None:
    edit = ds.edits.function(IDS, rounded, label="round")
    assert pickle.loads(pickle.dumps(edit)) == copy.deepcopy(edit) == edit
    assert hash(copy.deepcopy(edit)) == hash(edit)
    assert edit != ds.edits.function(IDS, functools.partial(rounded, digits=2), label="round")
    assert edit != ds.edits.function([3], rounded, label="round")
    with pytest.raises(InputError, match="'round explicit channels' by a function of one's own"):
        edit.to_json()


@pytest.mark.parametrize(("call", "label"), [(3, None), (rounded, 3)])
def test_what_is_no_function_is_refused(call, label) -> None:
    with pytest.raises(InputError, match="a function of the context"):
        ds.edits.function(IDS, call, label=label)
    assert ds.edits.function(IDS, functools.partial(rounded)).words == "partial"
