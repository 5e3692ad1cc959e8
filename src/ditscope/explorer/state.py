"""The state of a page, which is in its address: where one looks, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ditscope.checks import is_whole
from ditscope.errors import InputError, unknown_name

KEYS = (
    *("store", "sample", "step", "branch", "block", "stream", "site", "channel"),
    *("statistic", "sign", "scale", "opacity", "massive", "token"),
    *("show", "two", "edit", "draw", "metric"),
)
"""What the page can be told to begin with; ``b.step`` and the like are of the second picture, beside the first, and
``grid.block`` and the like are positions along the dimensions of a sweep's grid."""


def fragment(state: Mapping[str, Any]) -> str:
    """The part of an address behind ``#`` that says a state; empty where nothing is said.

    Raises:
        InputError: for a name that the page does not know, or a value that is neither text nor a whole number.
    """
    for name, value in state.items():
        if not name.startswith("grid.") and name.removeprefix("b.") not in KEYS:
            raise unknown_name("state", name, KEYS)
        if not (isinstance(value, str) or is_whole(value)):
            raise InputError(f"{name}={value!r}", "text or a whole number", "Pass a label.")
    return f"#{urlencode(state)}" if state else ""
