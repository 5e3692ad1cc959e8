"""Detail Guidance is guidance by a disrupted block."""

from __future__ import annotations

import pytest

import ditscope as ds
from ditscope.errors import InputError

IDS = [3, 77]


def test_massive_channels_of_the_block_are_set_to_zero() -> None:
    guidance = ds.guidance.detail(IDS, 2.0, "double.2", steps=[0, 1])
    assert guidance.edits == (ds.edits.zero(IDS, blocks="double.2", steps=[0, 1], branches="cond"),)
    assert guidance.w == 2
    assert guidance.match_norm_of is None


def test_or_multiplied_by_rho() -> None:
    (edit,) = ds.guidance.detail(IDS, 2.0, 5, rho=0.25, sigmas=(0.2, 1.0)).edits
    assert edit == ds.edits.scale(IDS, 0.25, blocks=5, sigmas=(0.2, 1.0), branches="cond")


@pytest.mark.parametrize("rho", [float("nan"), "x"])
def test_a_rho_that_is_no_number_is_refused(rho) -> None:
    with pytest.raises(InputError, match="factor"):
        ds.guidance.detail(IDS, 2.0, 5, rho=rho)
