"""The families that ditscope supports: one file of data each, found by being in this folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from ditscope.errors import UnsupportedError
from ditscope.models.family import Family


def _described() -> Iterator[Family]:
    for module in pkgutil.iter_modules(__path__):
        content = vars(importlib.import_module(f"{__name__}.{module.name}"))
        yield from (value for value in content.values() if isinstance(value, Family))


# By name, since a file may start from another file's family.
FAMILIES: tuple[Family, ...] = tuple({family.name: family for family in _described()}.values())
"""Every family, in the order of the files' names."""


def supported() -> str:
    """Names of the families with their pipeline classes, for messages."""
    return "; ".join(f"{family.name} ({', '.join(family.pipelines)})" for family in FAMILIES)


def family_of(pipeline_class: str) -> Family:
    """The family that runs under a diffusers pipeline class.

    Raises:
        UnsupportedError: no family has it.
    """
    for family in FAMILIES:
        if pipeline_class in family.pipelines:
            return family
    raise UnsupportedError(
        f"a pipeline of class {pipeline_class}",
        f"one of {supported()}",
        "To add a family, describe its blocks in one file of data in ditscope/models/families/ "
        "and run `ditscope check` on it.",
    )
