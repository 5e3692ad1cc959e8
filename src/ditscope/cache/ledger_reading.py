"""What a journal says: its lines, one after the other, taken in until the last whole one.

What is behind the last whole line was cut off while it was written, and counts for nothing. A line that is damaged
is named; the others count.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from ditscope.cache import files
from ditscope.cache.bfloat16 import DTYPE as BFLOAT16
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.manifest import manifest_hash
from ditscope.cache.sample_ledger import FILE, TENSOR_DTYPES, Entry, Ledger, unknown_sample
from ditscope.cache.samples import SampleSpec
from ditscope.errors import CacheError, InputError

_READ_BYTES = 64 * 2**20

MOST_LINE_BYTES = 256 * 2**20
"""Most bytes of one line: 64 million chunks in a sample."""

_LEAST_OF_SAMPLE = len('{"prompt":"","seed":0},')
"""Bytes of a damaged line that may have named a sample."""


def read_ledger(store: Path, manifest: Mapping[str, Any], plans: Mapping[str, ArrayPlan]) -> Ledger:
    """Read the journal.

    Args:
        store: folder of the store.
        manifest: its manifest.
        plans: its arrays, by path.

    Raises:
        CacheError: there is none, or it is of another recording or manifest.
    """
    path = store / FILE
    try:
        return _read(path, manifest, plans)
    except OSError as error:
        raise CacheError(
            f"no readable ledger {path} ({error.strerror})",
            "the ledger of a cache",
            "The store was cut short: fetch it again, or record into a new path.",
        ) from error


def _read(path: Path, manifest: Mapping[str, Any], plans: Mapping[str, ArrayPlan]) -> Ledger:
    samples: dict[int, SampleSpec] = {}
    entries: dict[int, Entry] = {}
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    dropped: set[int] = set()
    damaged: list[str] = []
    end = lost = 0
    for number, text in enumerate(_lines(path), 1):
        if not text.endswith(b"\n"):  # cut off while it was written; or only its last byte is another now
            with contextlib.suppress(ValueError, RecursionError):
                _parsed(text[:-1])
                damaged.append(f"line {number} of {FILE}: its end is damaged")
                lost += len(text)
            break
        end += len(text)
        try:
            _take(_parsed(text[:-1]), number, manifest, plans, samples, entries, tensors, dropped)
        except _OtherRecording as error:
            raise CacheError(
                f"a ledger that belongs to another manifest at {path} ({error})",
                f"that of the manifest there, of configuration {str(manifest['config_hash'])[:12]}",
                "The manifest was altered, or files of two stores were mixed: fetch the store again.",
            ) from None
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            OverflowError,
            InputError,
        ) as error:
            damaged.append(f"line {number} of {FILE}: {error}")
            lost += len(text)
    if end == 0:
        raise CacheError(
            f"a ledger without a whole line at {path}",
            "the ledger of a cache",
            "The store was cut short: fetch it again, or record into a new path.",
        )
    if samples and max(samples) >= len(samples) + lost // _LEAST_OF_SAMPLE:
        raise CacheError(
            f"sample {max(samples)} among {len(samples)} in {path}",
            "samples numbered from 0",
            "Fetch it again.",
        )
    listed = [samples.get(at, unknown_sample(at)) for at in range(max(samples, default=-1) + 1)]
    return Ledger(listed, entries, tensors, dropped - entries.keys(), damaged, end)


class _OtherRecording(Exception):
    """The journal begins with another manifest."""


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, each with its end, but for what is behind the last end."""
    kept, offset = b"", 0
    with files.opened(path) as handle:
        block = bytearray(min(_READ_BYTES, files.nbytes_of(handle)))
        while got := files.read_into(handle, offset, memoryview(block)):
            offset += got
            *whole, kept = (kept + block[:got]).split(b"\n")
            for text in whole:
                yield bytes(text) + b"\n"
            if len(kept) > MOST_LINE_BYTES:
                raise CacheError(
                    f"a line of more than {MOST_LINE_BYTES} bytes in {path}",
                    "a ledger",
                    "Do not use this store.",
                )
    if kept:
        yield bytes(kept)


def _parsed(text: bytes) -> dict[str, Any]:
    checksum, _, body = text.partition(b" ")
    if checksum != b"%08x" % google_crc32c.value(body):
        raise ValueError("its checksum does not fit")
    content = files.json_of(body)
    if not isinstance(content, dict):
        raise ValueError("no object")
    return content


def _take(
    content: dict[str, Any],
    number: int,
    manifest: Mapping[str, Any],
    plans: Mapping[str, ArrayPlan],
    samples: dict[int, SampleSpec],
    entries: dict[int, Entry],
    tensors: dict[str, np.ndarray[Any, Any]],
    dropped: set[int],
) -> None:
    """Take a line in, or raise what is wrong with it."""
    kind = content["kind"]
    if (kind == "journal") != (number == 1):
        raise ValueError(f"of kind {kind!r}: the first line, and no other, says of which recording it is")
    if kind == "journal":
        of = content["config_hash"], content["manifest_hash"], content["version"]
        if of != (manifest["config_hash"], manifest_hash(manifest), 1):
            raise _OtherRecording(f"of configuration {str(of[0])[:12]}")
    elif kind == "samples":
        first = int(content["first"])
        if not 0 <= first < 2**40:
            raise ValueError(f"samples from {first} on")
        specs = [SampleSpec.from_json(item) for item in content["samples"]]
        named = dict(enumerate(specs, first))
        if any(samples.get(position, spec) != spec for position, spec in named.items()):
            raise ValueError("it names samples anew that have names")
        samples.update(named)
    elif kind == "commit":
        entry = Entry.from_json(content, plans)
        if not 0 <= entry.sample < 2**40:
            raise ValueError(f"sample {entry.sample}")
        if samples.get(entry.sample, entry.spec) != entry.spec:
            raise ValueError(f"it calls sample {entry.sample} otherwise than the line that names it")
        samples[entry.sample] = entry.spec
        entries[entry.sample] = entry
    elif kind == "drop":
        entries.pop(int(content["sample"]), None)
        dropped.add(int(content["sample"]))
    elif kind == "tensor":
        digest, shape = str(content["digest"]), tuple(map(int, content["shape"]))
        if not re.fullmatch(r"[0-9a-f]{16,128}", digest) or str(content["dtype"]) not in TENSOR_DTYPES:
            raise ValueError(f"a tensor {digest[:20]!r} of {content['dtype']!r}")
        dtype = BFLOAT16 if content["dtype"] == "bfloat16" else np.dtype(content["dtype"])
        data = base64.b64decode(content["data"], validate=True)
        tensors[digest] = np.frombuffer(data, dtype).reshape(shape)
    else:
        raise ValueError(f"of the unknown kind {kind!r}")
