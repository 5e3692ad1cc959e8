"""What the text encoders of a pipeline were given of a prompt: read by a run, kept by a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

Runs = tuple[tuple[str, int], ...]
"""Tokens of a tokenizer, one after the other, each with how many of it stand there: of padding there are many."""


@dataclass(frozen=True)
class EncodedText:
    """What the text encoders were given of one prompt.

    Attributes:
        cut: text encoder -> number of tokens that were cut off, those of a template's end among them.
        digest: of the tokens that were left, of all encoders: equal digests are equal encoded texts.
        tokens: branch -> what the tokenizer calls the tokens of the text stream, in the prompt or in what stands in its
            place there; without the branches of which it is not known.
    """

    cut: Mapping[str, int]
    digest: str
    tokens: Mapping[str, Runs] = field(default_factory=dict)

    @property
    def truncated(self) -> bool:
        """Whether the prompt was cut in every encoder, so that nothing has seen its end."""
        return bool(self.cut) and all(self.cut.values())

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        own: dict[str, Any] = {"cut": dict(self.cut), "digest": self.digest}
        tokens = {branch: [list(run) for run in runs] for branch, runs in self.tokens.items()}
        return own | ({"tokens": tokens} if tokens else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EncodedText:
        """Read :meth:`to_json`'s output; tokens that are written in another way are not known."""
        cut = {str(encoder): int(count) for encoder, count in data["cut"].items()}
        try:
            tokens = {
                branch: tuple((str(token), int(count)) for token, count in runs)
                for branch, runs in data.get("tokens", {}).items()
            }
        except (TypeError, ValueError, AttributeError):
            tokens = {}
        if any(count < 1 for runs in tokens.values() for _, count in runs):
            tokens = {}
        return cls(cut, str(data["digest"]), tokens)


def runs_of(tokens: Iterable[str]) -> Runs:
    """Tokens, with how many of each follow each other."""
    return tuple((token, len(list(equal))) for token, equal in groupby(tokens))
