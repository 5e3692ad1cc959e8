"""Samples of a store: what each is of, and by what it is known again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ditscope.cache import schema_checks
from ditscope.cache.json_values import json_values
from ditscope.checks import whole_number
from ditscope.errors import InputError


@dataclass(frozen=True)
class SampleSpec:
    """One generated image.

    Attributes:
        prompt: its prompt, or the label of its embeddings.
        seed: of its noise.
        call: arguments of the call that are this sample's own, such as its negative prompt, as JSON values. With
            prompt and seed they say which sample it is: the same again is not recorded twice.
        columns: what its user wants to keep beside it, as JSON values; takes no part in which sample it is.
    """

    prompt: str
    seed: int
    call: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schema_checks.text("prompt", self.prompt)
        whole_number("seed", self.seed, -(2**63), 2**63 - 1)
        for name in ("call", "columns"):
            object.__setattr__(self, name, json_values(getattr(self, name), f"sample's {name}"))

    @property
    def identity(self) -> str:
        """Equal for two specs of the same sample."""
        return json.dumps([self.prompt, self.seed, self.call], sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values."""
        own = {name: dict(value) for name in ("call", "columns") if (value := getattr(self, name))}
        return {"prompt": self.prompt, "seed": self.seed, **own}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SampleSpec:
        """Build a spec from :meth:`to_json`'s output.

        Raises:
            InputError: it is no spec.
        """
        try:
            return cls(**data)
        except (TypeError, AttributeError) as error:
            raise InputError(f"{data!r} as a sample", "prompt and seed", "The store is damaged.") from error


def join(known: Sequence[SampleSpec], asked: Sequence[SampleSpec]) -> tuple[list[SampleSpec], list[int]]:
    """The samples that are asked for and not known, and the position of each that is asked for.

    Args:
        known: samples that there are, in order of their positions.
        asked: samples to be recorded.

    Raises:
        InputError: one is asked for twice.
    """
    positions = {sample.identity: position for position, sample in enumerate(known)}
    new: list[SampleSpec] = []
    found: list[int] = []
    for sample in asked:
        if sample.identity not in positions:
            positions[sample.identity] = len(known) + len(new)
            new.append(sample)
        found.append(positions[sample.identity])
    if len(set(found)) < len(found):
        twice = next(asked[i] for i, at in enumerate(found) if at in found[:i])
        raise InputError(
            f"{twice.prompt!r} with seed {twice.seed} more than once",
            "each sample once: prompts x seeds",
            "Leave the repetition out.",
        )
    return new, found
