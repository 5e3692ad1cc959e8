"""Named channels as a control."""

from __future__ import annotations

import ditscope as ds


def test_they_are_a_control_unless_the_caller_says_otherwise() -> None:
    made = ds.controls.explicit({0: [3, 4]}, stream="text", label="mine")
    assert made == ds.ChannelSet.of({0: [3, 4]}, stream="text", label="mine", control=True)
    assert not ds.controls.explicit([3], control=False).control
