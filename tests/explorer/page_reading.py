"""Reading a page of the explorer: until it stands, and the numbers that it shows."""

from __future__ import annotations

import re
from collections.abc import Callable

from patience import MILLISECONDS


def until(page, holds: Callable[[], bool]) -> None:
    """Wait until something holds, which a page may make true later."""
    for _ in range(MILLISECONDS // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(page.locator("body").inner_text())


def settled(page, *state: str) -> None:
    """Wait until a page stands, and has these parts of a state in its address, which follows later."""
    page.wait_for_selector(".ditscope-explorer[aria-busy=false]", timeout=MILLISECONDS)
    until(page, lambda: set(state) <= set(page.url.partition("#")[2].split("&")))


def number(text: str) -> float:
    """The number at the end of a text, as the page writes it."""
    return float(re.search(r"(-?[\d.]+(?:e[+-]?\d+)?)$", text.replace("\N{MINUS SIGN}", "-"))[1])


def readout(page, nth: int = 0) -> str:
    """What a map says of the token under the pointer."""
    return page.locator(".readout").nth(nth).inner_text()


def point(page, y: int, x: int, height: int, width: int, nth: int = 0) -> None:
    """Move the pointer over a cell of a map."""
    canvas = page.locator("canvas.map").nth(nth)
    box = canvas.bounding_box()
    canvas.hover(position={"x": (x + 0.5) / width * box["width"], "y": (y + 0.5) / height * box["height"]})


def move(page, label: str, to: int) -> None:
    """Move a slider to a position, as a hand does: every position on the way is one event."""
    slider = page.get_by_label(label, exact=True)
    now = int(slider.input_value())
    slider.focus()
    for _ in range(abs(to - now)):
        page.keyboard.press("ArrowRight" if to > now else "ArrowLeft")
    settled(page)


def shade(page, y: int, x: int, height: int, width: int, nth: int = 0) -> list[int]:
    """Red, green and blue in the middle of a cell of a map."""
    return (
        page.locator("canvas.map")
        .nth(nth)
        .evaluate(
            """(canvas, [fy, fx]) => Array.from(canvas.getContext("2d")
             .getImageData(Math.floor(fx * canvas.width), Math.floor(fy * canvas.height), 1, 1).data).slice(0, 3)""",
            [(y + 0.5) / height, (x + 0.5) / width],
        )
    )
