"""Code that pages and docstrings show, as it is tested."""

from __future__ import annotations

from collections.abc import Mapping

FEWER = {
    "num_inference_steps=6": "num_inference_steps=3",
    "step=5": "step=2",
    "step=[0, 5]": "step=[0, 2]",
    "isel(step=3)": "isel(step=2)",
}
"""Fewer steps than are shown: every line runs, and images take most of the time."""

FEWER_ON_PAGES = FEWER | {"num_inference_steps=4": "num_inference_steps=2"}


def fewer_steps(code: str, table: Mapping[str, str] = FEWER) -> str:
    """The code with fewer steps, by a table of what is shown and what is run instead."""
    for shown, fewer in table.items():
        code = code.replace(shown, fewer)
    return code


def of_page(code: str) -> str:
    """A page's code with fewer steps."""
    return fewer_steps(code, FEWER_ON_PAGES)
