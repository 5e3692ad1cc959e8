"""The families that ditscope supports: one file of data each, found by being in this folder.

Another distribution adds a family by an entry point of the group ``ditscope.models.families``.
"""

from __future__ import annotations

import inspect

import diffusers

from ditscope._discovery import public_names
from ditscope.errors import UnsupportedError
from ditscope.models.family import Family
from ditscope.models.pipeline_call import call_parameters

globals().update(public_names(__name__))


def known_families() -> tuple[Family, ...]:
    """Every family, in the order of the files' names."""
    return tuple(family for family in public_names(__name__).values() if isinstance(family, Family))


def supported() -> str:
    """Names of the families with their pipeline classes, for messages."""
    return "; ".join(f"{family.name} ({', '.join(family.pipelines)})" for family in known_families())


def family_of(pipeline: type | str, transformer: type | str | None = None) -> Family:
    """The family of a pipeline's transformer, with the guidance that the pipeline's call has.

    A class that a family names, or one derived from it, is of that family. Any other is of the family of its
    transformer's class, and of the one that its own config tells where several families have that.

    Args:
        pipeline: the pipeline's class, or the name of one in diffusers.
        transformer: class of its transformer, or the name of it.

    Raises:
        UnsupportedError: no family has it, or its family cannot describe what the pipeline does.
    """
    name = pipeline if isinstance(pipeline, str) else pipeline.__name__
    known_class = getattr(diffusers, name, object) if isinstance(pipeline, str) else pipeline
    bases = [name, *_names(known_class)]
    parameters = call_parameters(known_class)
    for base in bases:
        for family in known_families():
            if base in family.refused:
                raise UnsupportedError(
                    f"a pipeline of class {name}, in which {family.refused[base]}",
                    f"one of {', '.join(family.pipelines)}",
                    "Use another pipeline of this model.",
                )
            if base in family.pipelines:
                return family.called(parameters)
    known = [transformer] if isinstance(transformer, str | None) else _names(transformer)
    of_transformer = [family for family in known_families() if family.transformer_class in known]
    made_with = inspect.signature(known_class.__init__).parameters
    of_config = [family for family in of_transformer if family.guidance.unless in made_with]
    for family in [*of_config, *(each for each in of_transformer if each.guidance.unless is None)]:
        return family.called(parameters)
    raise UnsupportedError(
        f"a pipeline of class {name}" + (f" with a {known[0]}" if known[0] else ""),
        f"one of {supported()}",
        "To add a family, describe its blocks in one file of data in ditscope/models/families/ or by an entry point, "
        "and run `ditscope check` on it.",
    )


def _names(of: type) -> list[str]:
    """Names of a class and of what it is derived from."""
    return [base.__name__ for base in of.__mro__]
