"""What a guidance is made of, what it is called, and what is refused."""

from __future__ import annotations

import copy
import json

import pytest
import xarray as xr

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import InputError
from ditscope.guidance import Guidance, from_edits

ZERO, BLUR = ds.edits.zero([3], blocks=2), ds.edits.blur(None, 1.5, blocks="double.2")


def test_edits_act_in_the_conditional_branch() -> None:
    guidance = from_edits([ZERO, BLUR], 2, match_norm_of=ds.guidance.detail([3], 1.0, 2))
    assert [edit.scope.branches for edit in guidance.edits] == [("cond",)] * 2
    assert guidance.match_norm_of == from_edits(ZERO, 1.0).edits
    assert from_edits(BLUR, 2.0, match_norm_of=ZERO).match_norm_of == from_edits([ZERO], 1.0).edits


def test_it_says_what_it_leads_away_from() -> None:
    guidance = from_edits([ZERO, BLUR], 2, match_norm_of=ZERO)
    assert repr(guidance) == (
        "<Guidance: guidance w=2 from zero explicit channels and blur by 1.5 tokens all channels, "
        "norm of zero explicit channels>"
    )


def test_it_has_a_plain_form() -> None:
    guidance = from_edits([ZERO, BLUR], 2, match_norm_of=ZERO)
    assert (
        Guidance.from_json(json.loads(json.dumps(guidance.to_json()))) == guidance == copy.deepcopy(guidance)
    )
    assert guidance != from_edits([ZERO, BLUR], 3, match_norm_of=ZERO)


@pytest.mark.parametrize(
    ("edits", "w", "words"),
    [
        ([], 1.0, "an edit or several"),
        ([ZERO, "zero"], 1.0, "an edit or several"),
        (ds.edits.zero([3], branches="uncond"), 1.0, "branch uncond"),
        (ds.edits.zero([3], branches=["cond", "uncond"]), 1.0, "branch uncond"),
        (ZERO, float("nan"), "w"),
        (ZERO, "2", "w"),
    ],
)
def test_what_is_no_guidance_is_refused(edits, w, words) -> None:
    with pytest.raises(InputError, match=words):
        from_edits(edits, w)
    if w == 1.0:
        with pytest.raises(InputError, match=words):
            from_edits(ZERO, w, match_norm_of=edits)


def test_one_guidance_at_a_time() -> None:
    with from_edits(ZERO, 1.0), pytest.raises(InputError, match="one guidance"), from_edits(BLUR, 1.0):
        pass
    with from_edits(BLUR, 1.0):
        pass


def test_one_draw_at_a_time() -> None:
    ids = xr.DataArray([[1, 2], [3, 4], [5, 6]], dims=("draw", "rank"))
    drawn_thrice = ChannelSet(ids, "image", "random 2")
    guidance = from_edits([ds.edits.zero(drawn_thrice), BLUR], 1.0)
    assert guidance.draws == 3
    with pytest.raises(InputError, match="one draw"), guidance:
        pass
    with guidance.draw(2) as drawn:
        assert drawn.edits[0].channels == drawn_thrice.draw(2)
        assert drawn.edits[1] == from_edits(BLUR, 1.0).edits[0]
