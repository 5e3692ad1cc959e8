"""Prompts for open-world models are different, and evenly made."""

from __future__ import annotations

from collections import Counter

import pytest

from ditscope.errors import InputError
from ditscope.studies.scene_prompts import STYLES, SUBJECTS, scene_prompts


def test_they_differ_and_are_even() -> None:
    assert len(set(scene_prompts(256))) == 256
    some = scene_prompts(64)
    assert {Counter(any(each.startswith(subject) for each in some) for subject in SUBJECTS)[True]} == {16}
    assert set(Counter(each.rpartition(", ")[2] for each in some).values()) == {64 // len(STYLES)}
    assert scene_prompts(12) == some[:12]
    with pytest.raises(InputError, match="count"):
        scene_prompts(257)
