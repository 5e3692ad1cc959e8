"""The variation of channels against plain hooks."""

from __future__ import annotations

import numpy as np
import pytest

import ditscope as ds
from ditscope.errors import InputError

IDS = [3, 77, 120]
MASK = np.arange(32).reshape(4, 8) % 3 == 0


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_it_is_what_a_plain_hook_does(assert_does, share) -> None:
    edit = ds.edits.variation_only(IDS, share, tokens=MASK)
    tokens = np.flatnonzero(MASK).tolist()
    assert_does(edit, lambda old: old - share * old.mean(dim=1, keepdim=True), ids=IDS, tokens=tokens)


def test_a_share_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="share='half'"):
        ds.edits.variation_only(IDS, "half")
    assert ds.edits.variation_only(IDS, 0.5).label == "take 0.5 of the mean from explicit channels"
