from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope.plots._text import width, wrap


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80), st.floats(0.4, 4.0))
def test_wrapped_lines_fit_and_lose_no_word(text: str, inches: float) -> None:
    wrapped = wrap(text, inches, 9.0)
    assert "".join(wrapped.split()) == "".join(text.split())
    assert all(width(line, 9.0) <= inches or len(line) == 1 for line in wrapped.split("\n"))


def test_wrap_ends_in_an_ellipsis_that_fits() -> None:
    wrapped = wrap("word " * 60, 1.2, 9.0, lines=2)
    assert wrapped.count("\n") == 1
    assert wrapped.endswith("…")
    assert all(width(line, 9.0) <= 1.2 for line in wrapped.split("\n"))
