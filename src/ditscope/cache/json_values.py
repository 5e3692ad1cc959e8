"""JSON values: the only thing that a manifest holds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ditscope.errors import InputError


def json_values(
    values: Mapping[str, Any], what: str, default: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Named values as they read back from JSON: tuples are lists.

    Args:
        values: value by name.
        what: what the values are, for the error.
        default: makes a JSON value of an object that is none, at any depth, or raises TypeError.

    Raises:
        InputError: one cannot be written as JSON; the message names it.
    """
    plain = {}
    for name, value in values.items():
        try:
            plain[name] = json.loads(json.dumps(value, allow_nan=False, default=default))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{what} {name!r} of type {type(value).__name__} ({error})",
                "JSON values: text, finite numbers, booleans, None, lists, dicts",
                "Convert it, or leave it out.",
            ) from error
    return plain


def plain_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """The public entries of a library's configuration that are text, numbers, booleans or None.

    NaN and infinity, which schedulers have as limits, become text.
    """
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in config.items()
        if isinstance(value, str | int | float | bool | None) and not name.startswith("_")
    }
