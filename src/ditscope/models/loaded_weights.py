"""Weights that a checkpoint lacks: diffusers and transformers make them up at random, and only warn."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import transformers

from ditscope.errors import InputError

# transformers reports weights of another shape in a log alone, unless it is told to go on.
_LOADERS: dict[Any, dict[str, Any]] = {
    diffusers.ModelMixin: {},
    transformers.PreTrainedModel: {"ignore_mismatched_sizes": True},
}
_SHOWN = 5
_one_at_a_time = threading.RLock()


@contextmanager
def whole_weights() -> Iterator[None]:
    """While a pipeline is loaded: each network's own report of what its files lack is heard.

    Raises:
        InputError: at the end, if a network lacks weights or has them in other shapes, by its name and theirs.
    """
    lacking: dict[str, list[str]] = {}
    with _one_at_a_time:
        found = [vars(loader)["from_pretrained"] for loader in _LOADERS]
        try:
            for (loader, told), method in zip(_LOADERS.items(), found, strict=True):
                loader.from_pretrained = classmethod(_reporting(method.__func__, told, lacking))
            yield
        finally:
            for loader, method in zip(_LOADERS, found, strict=True):
                loader.from_pretrained = method
    for network, names in lacking.items():
        shown = ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )
        raise InputError(
            f"{len(names)} weights that {network} has not in its files, or in another shape ({shown})",
            "every weight, since the library would fill in random ones",
            "Fetch or save it again; a network that is right all the same can be loaded by itself and passed by name.",
        )


def _reporting(load: Any, told: dict[str, Any], lacking: dict[str, list[str]]) -> Any:
    """A ``from_pretrained`` that notes what a network lacks that this thread loads, and else does the same."""
    thread = threading.get_ident()

    @functools.wraps(load)
    def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return load(cls, *args, **kwargs)
        wanted = kwargs.pop("output_loading_info", False)
        model, info = load(cls, *args, output_loading_info=True, **told, **kwargs)
        if names := {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}:
            lacking[f"{Path(str(args[0])).name} ({cls.__name__})"] = sorted(names)
        return (model, info) if wanted else model

    return from_pretrained
