"""The ledger: one file that says which samples a store has, and which of them are whole.

A journal to which lines are only ever added, each with its own CRC-32C: ``samples`` names new ones, ``commit`` says
that one is on disk, ``drop`` that it no longer counts, ``tensor`` has a small tensor of the call, whole. A sample
counts only once its ``commit`` line is there, which is written after everything else of that sample. The line has the
CRC-32C of every chunk of the sample, so that a file that is missing, damaged, or swapped for another is noticed
wherever it is read.

The journal lies in the folder of the boolean array ``done``, which repeats for plain zarr readers what it says; how it
is read is in ``ledger_reading.py``.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from ditscope.cache import files
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.manifest import manifest_hash
from ditscope.cache.samples import SampleSpec
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError

FOLDER = "done/ledger"
FILE = f"{FOLDER}/journal.jsonl"

_MOST_GROWTH = 16
"""How much longer a file may be than it is uncompressed: a chunk has a header, and may be tiny."""


TENSOR_DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")
"""Dtypes of tensors that are kept whole."""

SaturatedCounts = Mapping[str, Mapping[int, Mapping[int, int]]]
"""``stream/site`` -> block -> channel -> number of values at the dtype's limit, where there are any."""


@dataclass(frozen=True)
class StoredFiles:
    """The files that one sample has of one array.

    Attributes:
        checksums: uint32 ``[chunk]``, the CRC-32C of every chunk, file by file in the order of the array's shards, in
            each in the order of the array's axes.
        sizes: bytes of each file; None where they follow from the array's plan, as without compression.
    """

    checksums: np.ndarray[Any, Any]
    sizes: tuple[int, ...] | None = None

    def file_sizes(self, plan: ArrayPlan) -> tuple[int, ...]:
        """Bytes of each file."""
        return plan.file_bytes if self.sizes is None else self.sizes

    def to_json(self) -> dict[str, Any]:
        """JSON values: the checksums as base64 of little-endian numbers."""
        packed = base64.b64encode(self.checksums.astype("<u4").tobytes()).decode("ascii")
        return {"crc32c": packed} | ({} if self.sizes is None else {"sizes": list(self.sizes)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], plan: ArrayPlan) -> StoredFiles:
        """Read :meth:`to_json`'s output.

        Raises:
            ValueError: it is not of an array of this plan.
        """
        checksums = np.frombuffer(base64.b64decode(data["crc32c"], validate=True), "<u4")
        sizes = None if "sizes" not in data else tuple(map(int, data["sizes"]))
        if len(checksums) != plan.first_chunks[-1]:
            raise ValueError(f"{len(checksums)} checksums of {plan.first_chunks[-1]} chunks of {plan.path}")
        if (sizes is None) != (plan.compression is None) or len(sizes or plan.file_bytes) != len(
            plan.file_bytes
        ):
            raise ValueError(
                f"the sizes of {len(sizes or ())} of {len(plan.file_bytes)} files of {plan.path}"
            )
        for size, plain in zip(sizes or (), plan.file_bytes, strict=False):
            if not 0 < size <= _MOST_GROWTH * plain:
                raise ValueError(f"{size} bytes of a file of {plan.path}, which has {plain} uncompressed")
        return cls(checksums, sizes)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, StoredFiles)
            and self.sizes == other.sizes
            and np.array_equal(self.checksums, other.checksums)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Entry:
    """What the ledger says about one committed sample.

    Attributes:
        sample: position of the sample.
        spec: what it is of.
        committed: when, ISO 8601 in UTC.
        files: array path -> its files.
        nonfinite: ``stream/site`` -> number of NaN and infinite values in its hidden states; without statistics,
            padding of the text is among them.
        saturated: the same, by block and channel, of values at the limit of the dtype of the hidden states.
        text: what its text encoders were given; None where that is not known.
        live: digest of the live state of the model that made it; None where it is not known.
        batch: positions of the samples that it was generated together with, itself included, in order of their rows;
            numbers depend on them in the last bits.
    """

    sample: int
    spec: SampleSpec
    committed: str
    files: Mapping[str, StoredFiles]
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    saturated: SaturatedCounts = field(default_factory=dict)
    text: EncodedText | None = None
    live: str | None = None
    batch: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "sample": self.sample,
            "spec": self.spec.to_json(),
            "committed": self.committed,
            "nonfinite": dict(self.nonfinite),
            "saturated": self.saturated,
            "text": None if self.text is None else self.text.to_json(),
            "live": self.live,
            "batch": list(self.batch),
            "files": {path: own.to_json() for path, own in self.files.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], plans: Mapping[str, ArrayPlan]) -> Entry:
        """Read :meth:`to_json`'s output.

        Raises:
            ValueError: it lists other arrays or chunks than a sample of this store has.
        """
        if set(data["files"]) != set(plans):
            odd = sorted(set(data["files"]) ^ set(plans))[:3]
            raise ValueError(f"files of other arrays than the manifest has ({', '.join(odd)})")
        text = data["text"]
        if text is not None:
            text = EncodedText.from_json(text)
        return cls(
            int(data["sample"]),
            SampleSpec.from_json(data["spec"]),
            str(data["committed"]),
            {path: StoredFiles.from_json(own, plans[path]) for path, own in data["files"].items()},
            {_site(name, plans): int(count) for name, count in data["nonfinite"].items()},
            _saturated(data["saturated"], plans),
            text,
            None if data["live"] is None else str(data["live"]),
            tuple(map(int, data["batch"])),
        )


@dataclass(frozen=True)
class Ledger:
    """What a journal says.

    Attributes:
        samples: every sample, in order of its position.
        entries: what is known of the committed ones, by position.
        tensors: small tensors that calls were passed, by digest.
        dropped: positions of samples that were committed once, and are not now.
        damaged: what is wrong with lines that cannot be used, each with its number.
        end: bytes up to the end of the last whole line.
    """

    samples: Sequence[SampleSpec]
    entries: Mapping[int, Entry]
    tensors: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    dropped: Collection[int] = ()
    damaged: Sequence[str] = ()
    end: int = 0


def unknown_sample(position: int) -> SampleSpec:
    """What stands for a sample whose name was in a damaged line."""
    return SampleSpec("(unknown)", 0, {"position": position})


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def line(kind: str, content: Mapping[str, Any]) -> bytes:
    """A line of the journal: its checksum, and JSON in ASCII."""
    text = json.dumps({"kind": kind, **content}, separators=(",", ":")).encode("ascii")
    return b"%08x %b\n" % (google_crc32c.value(text), text)


def first_line(manifest: Mapping[str, Any]) -> bytes:
    """The line with which a journal begins: of which recording it is, and which manifest belongs to it."""
    hashes = {"config_hash": manifest["config_hash"], "manifest_hash": manifest_hash(manifest)}
    return line("journal", {"version": 1, **hashes})


def samples_line(first: int, samples: Sequence[SampleSpec]) -> bytes:
    """The line that names new samples, from position ``first`` on."""
    return line("samples", {"first": first, "samples": [sample.to_json() for sample in samples]})


def tensor_line(digest: str, values: np.ndarray[Any, Any]) -> bytes:
    """The line that has a tensor of a call, by the digest that stands for it in the call as it is written down."""
    data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
    own = {"digest": digest, "dtype": str(values.dtype), "shape": list(values.shape), "data": data}
    return line("tensor", own)


def growth_lines(
    first: int, samples: Sequence[SampleSpec], tensors: Mapping[str, np.ndarray[Any, Any]]
) -> bytes:
    """The lines by which a store gains tensors of calls, and then samples, from position ``first`` on."""
    lines = [tensor_line(digest, values) for digest, values in tensors.items()]
    return b"".join([*lines, samples_line(first, samples)] if samples else lines)


def check_files(store: Path, plans: Mapping[str, ArrayPlan], entry: Entry) -> None:
    """See that every file of a committed sample is there, with the size that the ledger says.

    Raises:
        CacheError: one is not; the message names the sample and the file.
    """
    for path, own in entry.files.items():
        plan = plans[path]
        for shard, expected in zip(plan.shards, own.file_sizes(plan), strict=True):
            name = plan.file_name(entry.sample, shard)
            on_disk = files.size(store / name)
            if on_disk != expected:
                raise CacheError(
                    f"{'no file' if on_disk is None else f'{on_disk} bytes in'} {name} of committed sample "
                    f"{entry.sample}",
                    f"a plain file of {expected} bytes",
                    "Fetch it again, or ds.repair(model, path), which records damaged samples anew; "
                    "the other samples can be read.",
                )


def _site(name: str, plans: Mapping[str, ArrayPlan]) -> str:
    if name.count("/") != 1 or not any(path.startswith(f"{name}/") for path in plans):
        raise ValueError(f"{name!r}, which is no stream/site of the store")
    return name


def _saturated(content: Mapping[str, Any], plans: Mapping[str, ArrayPlan]) -> SaturatedCounts:
    return {
        _site(name, plans): {
            int(block): {int(channel): int(count) for channel, count in channels.items()}
            for block, channels in blocks.items()
        }
        for name, blocks in content.items()
    }
