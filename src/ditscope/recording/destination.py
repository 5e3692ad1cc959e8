"""Where the readings of a run go: into a store, or into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from ditscope.cache.sample_ledger import Entry
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import Schema
from ditscope.cache.shards import Buffers, Spent
from ditscope.cache.visit_reading import Reading
from ditscope.encoded_text import EncodedText


class Destination(Protocol):
    """What a recorded run asks of it; :class:`ditscope.cache.writer.CacheWriter` describes every method."""

    schema: Schema
    samples: list[SampleSpec]
    entries: dict[int, Entry]
    buffers: Buffers
    time: Spent

    def put(self, reading: Reading) -> None:
        """Take what was read at one address."""

    def put_token_masks(self, samples: Sequence[int], stream: str, branch: str, masks: Any) -> None:
        """Take which tokens of a padded stream are real: bool ``[row, token]``."""

    def put_token_ids(self, sample: int, stream: str, ids: Any) -> None:
        """Take which tokens of a sample were drawn."""

    def put_trajectory(self, sample: int, *, latents: Any, transformer_output: Any) -> None:
        """Take a sample's trajectory."""

    def put_image(self, sample: int, image: Any) -> None:
        """Take a sample's image."""

    def commit_together(
        self,
        texts: Mapping[int, EncodedText | None],
        *,
        live: str | None = None,
        batch: Sequence[int] = (),
        like: Mapping[int, Entry] = MappingProxyType({}),
    ) -> None:
        """Count samples as recorded."""
