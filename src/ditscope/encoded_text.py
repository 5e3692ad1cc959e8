"""What the text encoders of a pipeline were given of a prompt: read by a run, kept by a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedText:
    """What the text encoders were given of one prompt.

    Attributes:
        cut: text encoder -> number of tokens that were cut off, those of a template's end among them.
        digest: of the tokens that were left, of all encoders: equal digests are equal encoded texts.
    """

    cut: Mapping[str, int]
    digest: str

    @property
    def truncated(self) -> bool:
        """Whether the prompt was cut in every encoder, so that nothing has seen its end."""
        return bool(self.cut) and all(self.cut.values())
