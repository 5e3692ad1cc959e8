"""Coordinates of recorded samples, from what the ledger and the store's own arrays say of each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from ditscope.cache.labels import Labels, sample_labels, token_labels
from ditscope.cache.sample_ledger import Entry
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import StreamSpec
from ditscope.encoded_text import EncodedText


def recorded_sample_labels(
    specs: Sequence[SampleSpec], ledger: Mapping[int, Entry], samples: Sequence[int]
) -> Labels:
    """Labels of samples, with what the ledger says: ``done``; ``truncated`` and ``encoded_text`` where known."""
    entries = [ledger.get(sample) for sample in samples]
    done = np.array([entry is not None for entry in entries], dtype=bool)
    labels = {**sample_labels(specs, samples), "done": (("sample",), done)}
    texts = [None if entry is None else entry.text for entry in entries]
    if any(texts):
        cut = np.array([text is not None and text.truncated for text in texts], dtype=bool)
        encoded = np.array(["" if text is None else text.digest for text in texts], dtype=object)
        labels |= {"truncated": (("sample",), cut), "encoded_text": (("sample",), encoded)}
    return labels


def recorded_token_labels(stream: StreamSpec, stored: Callable[[str], Any]) -> Labels:
    """Labels of the tokens that are kept: which of a text are real, and which were drawn of a grid.

    Args:
        stream: whose tokens they are.
        stored: path of an array -> what it has of the samples, ``[sample, ...]``.
    """
    labels = token_labels(stream)
    if not stream.has_grid:
        mask = stored(f"{stream.name}/token_mask")
        labels["token_mask"] = (("sample", "branch", "token"), mask[:])
    if stream.random_tokens is not None and stream.grid_width is not None:
        drawn = stored(f"{stream.name}/token_id")[:].astype(np.int64)
        y, x = np.divmod(drawn, stream.grid_width)
        for name, values in (("token_id", drawn), ("y", y), ("x", x)):
            labels[name] = (("sample", "token"), values)
    return labels


def token_names(
    texts: Sequence[EncodedText | None], branches: Sequence[str], tokens: int
) -> np.ndarray[Any, Any]:
    """What the tokenizer calls each token, strings ``[sample, branch, token]``; empty where that is not known."""
    names = np.full((len(texts), len(branches), tokens), "", dtype=object)
    for row, text in enumerate(texts):
        for number, branch in enumerate(branches):
            start = 0
            for token, count in () if text is None else text.tokens.get(branch, ()):
                names[row, number, start : start + count] = token
                start += count
    return names


def of_channels(coordinates: xr.Coordinates, channels: Sequence[int] | None) -> xr.Coordinates:
    """The same coordinates, of channels by their true ids or of all: to make the others anew takes longest of all."""
    own: dict[Any, Any] = dict(coordinates.variables)
    indexes = dict(coordinates.xindexes)
    if channels is not None:
        index = indexes["channel"] = PandasIndex(np.array(channels, dtype=np.int64), "channel")
        own |= index.create_variables({"channel": own["channel"]})
    return xr.Coordinates(own, indexes)
