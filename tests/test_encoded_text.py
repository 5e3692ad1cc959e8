"""When a prompt counts as cut."""

import pytest

from ditscope.encoded_text import EncodedText


@pytest.mark.parametrize(
    ("cut", "truncated"), [({"clip": 3, "t5": 1}, True), ({"clip": 3, "t5": 0}, False), ({}, False)]
)
def test_a_prompt_is_cut_where_no_encoder_has_seen_its_end(cut, truncated):
    assert EncodedText(cut, "ab").truncated is truncated
