from __future__ import annotations

from ditscope.plots._style import CONTROL, DISTINCT, looks


def test_controls_are_grey_and_what_is_tested_is_not() -> None:
    look = looks([False, True, False, True])
    assert [one.control for one in look] == [False, True, False, True]
    assert [one.colour for one in look] == [DISTINCT[0], CONTROL[0], DISTINCT[1], CONTROL[1]]


def test_six_controls_look_different() -> None:
    assert len({(one.colour, one.marker) for one in looks([True] * 6)}) == 6
