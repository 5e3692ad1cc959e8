"""The families that ditscope supports: one file of data each, found by being in this folder.

Another distribution adds a family by an entry point of the group ``ditscope.models.families``.
"""

from __future__ import annotations

from ditscope._discovery import public_names
from ditscope.errors import UnsupportedError
from ditscope.models.family import Family

globals().update(public_names(__name__))


def known_families() -> tuple[Family, ...]:
    """Every family, in the order of the files' names."""
    return tuple(family for family in public_names(__name__).values() if isinstance(family, Family))


def supported() -> str:
    """Names of the families with their pipeline classes, for messages."""
    return "; ".join(f"{family.name} ({', '.join(family.pipelines)})" for family in known_families())


def family_of(pipeline_class: str) -> Family:
    """The family that runs under a diffusers pipeline class.

    Raises:
        UnsupportedError: no family has it.
    """
    for family in known_families():
        if pipeline_class in family.pipelines:
            return family
    raise UnsupportedError(
        f"a pipeline of class {pipeline_class}",
        f"one of {supported()}",
        "To add a family, describe its blocks in one file of data in ditscope/models/families/ or by an entry point, "
        "and run `ditscope check` on it.",
    )
