"""The constant part of channels against plain hooks."""

from __future__ import annotations

import ditscope as ds

IDS = [3, 77, 120]


def test_it_is_the_mean_over_tokens(assert_does) -> None:
    edit = ds.edits.constant_only(IDS)
    assert_does(edit, lambda old: old.mean(dim=1, keepdim=True).expand_as(old), ids=IDS)


def test_it_is_no_control_but_where_its_channels_are_or_it_is_said() -> None:
    assert ds.edits.constant_only(IDS) == ds.edits.mean(IDS, control=False)
    assert not ds.edits.constant_only(IDS).control
    assert ds.edits.constant_only(ds.controls.explicit(IDS)).control
    assert ds.edits.constant_only(IDS, control=True).control
