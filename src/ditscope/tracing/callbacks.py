"""Callbacks of a call: what one is known by in a manifest, which must say when it is no longer the same.

A callback may change latents and embeddings, so it is part of what made the numbers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from diffusers.configuration_utils import ConfigMixin

from ditscope.cache.json_values import plain_entries
from ditscope.models.plain_form import PlainForm, short_digest


def written_callback(callback: Callable[..., Any]) -> dict[str, Any]:
    """Name and digest of a callback, and the configuration of diffusers' own ones.

    The digest is the same in every process of one version of Python, and another once the code or a value that it
    reaches is another: defaults, what it closes over, globals, its object. A library's code counts by its name alone.
    """
    inner = callback.func if isinstance(callback, functools.partial) else callback
    named = inner if inspect.isclass(inner) or inspect.isroutine(inner) else type(inner)
    written = {
        "callback": f"{named.__module__}.{named.__qualname__}",
        "digest": short_digest(PlainForm(gathered=True)(callback), 64),
    }
    return {**written, "config": plain_entries(inner.config)} if isinstance(inner, ConfigMixin) else written
