"""The state in an address."""

from __future__ import annotations

import pytest

from ditscope.errors import InputError
from ditscope.explorer.state import fragment


def test_a_state_is_the_part_behind_the_hash() -> None:
    assert fragment({}) == ""
    assert (
        fragment({"step": 7, "branch": "cond", "b.block": 3, "grid.k": 0})
        == "#step=7&branch=cond&b.block=3&grid.k=0"
    )
    assert fragment({"branch": "a&b"}) == "#branch=a%26b"


@pytest.mark.parametrize(
    ("state", "words"),
    [({"steps": 7}, "state 'steps'"), ({"step": 1.5}, "step=1.5"), ({"step": True}, "step=True")],
)
def test_what_the_page_does_not_know_is_refused(state, words) -> None:
    with pytest.raises(InputError, match=words):
        fragment(state)
