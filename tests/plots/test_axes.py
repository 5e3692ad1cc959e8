from __future__ import annotations

import pytest

from ditscope.plots._axes import number
from ditscope.plots._text import MINUS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01, "0.01"), (2000, "2,000"), (-3.5, f"{MINUS}3.5"), (1e6, "1e6"), (2e-5, f"2e{MINUS}5")],
)
def test_numbers_on_axes_are_plain(value: float, text: str) -> None:
    assert number(value) == text
