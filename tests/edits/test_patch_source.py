"""Texts are patched by the position of their tokens, and by as many as there are on both sides."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ditscope.edits.patch_source import require_tokens
from ditscope.errors import EditError


def context(real, tokens):
    """The part of an :class:`ditscope.edits.context.EditContext` that is looked at."""
    real = torch.tensor(real, dtype=torch.bool)
    return SimpleNamespace(
        hidden=torch.zeros(*real.shape, 3),
        real=real,
        tokens=torch.tensor(tokens),
        samples=[("a red star", 0)] * len(real),
        stream="text",
        branch="cond",
    )


@pytest.mark.parametrize(
    ("real", "tokens", "source"),
    [
        ([[1, 1, 0]], [0, 1, 2], [[1, 1, 0]]),
        ([[1, 1, 0]], [0, 1, 2], [[1, 1]]),  # padding is not taken
        ([[1, 1, 1]], [0, 1], [[1, 1, 0, 0]]),  # those that are named are in both
        ([[1, 1, 1], [1, 0, 0]], [0, 1, 2], [[1, 1, 1], [1, 0, 0]]),
    ],
)
def test_as_many_tokens_are_taken(real, tokens, source) -> None:
    require_tokens(context(real, tokens), torch.tensor(source, dtype=torch.bool), "the source")


@pytest.mark.parametrize(
    ("real", "tokens", "source", "counts"),
    [
        ([[1, 1, 1]], [0, 1, 2], [[1, 1, 0]], "3 real .* and 2 of"),
        ([[1, 1, 1]], [0, 1, 2], [[1, 1]], "3 real .* and 2 of"),
        ([[1, 1, 0]], [0, 1, 2], [[1, 1, 1]], "2 real .* and 3 of"),
        ([[1, 1, 1]], [0, 2], [[1, 1, 0]], "3 real .* and 2 of"),
        ([[1, 0, 1]], [0, 2], [[0, 1, 1]], "2 real .* and 2 of"),
        ([[1, 1], [1, 1]], [0, 1], [[1, 1], [1, 0]], "2 real .* and 1 of"),
    ],
)
def test_other_numbers_of_tokens_are_refused(real, tokens, source, counts) -> None:
    with pytest.raises(EditError, match=counts):
        require_tokens(context(real, tokens), torch.tensor(source, dtype=torch.bool), "the source")
