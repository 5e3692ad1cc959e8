"""Checks of a schema that only a store needs; the others are in :mod:`ditscope.checks`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from ditscope.checks import whole_number
from ditscope.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = frozenset(
    [
        *("sample", "prompt", "seed", "done", "step", "sigma", "timestep", "branch"),
        *("block", "block_name", "block_kind", "token", "y", "x", "channel"),
        *("token_mask", "token_id", "images", "trajectory", "call"),
    ]
)
"""Names that a stream, site or branch may not have: the store uses them itself."""


def name(what: str, value: object) -> None:
    """Refuse what cannot name a group or array beside the coordinates."""
    if not isinstance(value, str) or not NAME.fullmatch(value) or value in RESERVED:
        raise InputError(
            f"{what} {value!r}",
            "a lower-case name that is no coordinate's",
            "Use letters, digits and underscores.",
        )


def text(what: str, value: object) -> None:
    """Refuse what is not a string."""
    if not isinstance(value, str):
        raise InputError(f"{what} {value!r}", "a string", "Pass text.")


def distinct(what: str, values: Sequence[object]) -> None:
    """Refuse an empty list and one that repeats a name."""
    if not values or len(set(values)) != len(values):
        raise InputError(f"{what} names {list(values)}", "at least one, each once", f"List each {what} once.")


def increasing(what: str, values: Iterable[int]) -> None:
    """Refuse an empty list of indices and one that is not strictly increasing."""
    listed = list(values)
    for value in listed:
        whole_number(what, value, 0, 2**31)
    if not listed or any(b <= a for a, b in itertools.pairwise(listed)):
        shown = str(listed) if len(listed) < 20 else f"{str(listed[:20])[:-1]}, ...]"
        raise InputError(
            f"{what} indices {shown}",
            "at least one, in increasing order",
            f"Sort the {what}s, each once.",
        )
