"""The ledger: one small JSON file per committed sample, written after everything else of that sample.

A sample counts only when its entry is there. The entry lists every file of the sample with size and
SHA-256, so that a file that is missing, cut short, altered or swapped for another is noticed. The entries
lie in the folder of the boolean array ``done``, which repeats for plain zarr readers what the ledger says;
inside an array's folder they are no stray objects in the zarr hierarchy.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditscope.cache import storage
from ditscope.cache.layout import ArrayPlan
from ditscope.encoded_text import EncodedText
from ditscope.errors import CacheError

FOLDER = "done/ledger"

SaturatedCounts = Mapping[str, Mapping[int, Mapping[int, int]]]
"""``stream/site`` -> block -> channel -> number of values at the dtype's limit, where there are any."""

_ENTRY = re.compile(r"(\d+)\.json")


@dataclass(frozen=True)
class Entry:
    """What the ledger says about one committed sample.

    Attributes:
        sample: position of the sample.
        committed: when, ISO 8601 in UTC.
        files: file name relative to the store -> (bytes, SHA-256).
        nonfinite: ``stream/site`` -> number of NaN and infinite values in its hidden states; without statistics,
            padding of the text is among them.
        saturated: the same, by block and channel, of values at the limit of the dtype of the hidden states; None
            where they were not counted, as by earlier releases.
        text: what its text encoders were given; None where that is not known.
        live: digest of the live state of the model that made it; None in stores of earlier releases.
    """

    sample: int
    committed: str
    files: Mapping[str, tuple[int, str]]
    nonfinite: Mapping[str, int]
    saturated: SaturatedCounts | None = None
    text: EncodedText | None = None
    live: str | None = None

    @classmethod
    def now(
        cls,
        sample: int,
        files: Mapping[str, tuple[int, str]],
        nonfinite: Mapping[str, int],
        saturated: SaturatedCounts,
        text: EncodedText | None = None,
        live: str | None = None,
    ) -> Entry:
        """An entry committed at this moment."""
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(sample, moment, dict(files), dict(nonfinite), dict(saturated), text, live)


def entry_path(store: Path, sample: int) -> Path:
    """Where a sample's entry is, or will be."""
    return store / FOLDER / f"{sample:06d}.json"


def write_entry(store: Path, entry: Entry) -> None:
    """Commit a sample: the last write that it needs."""
    content = {
        "sample": entry.sample,
        "committed": entry.committed,
        "nonfinite": dict(entry.nonfinite),
        "saturated": entry.saturated,
        "text": None if entry.text is None else {"cut": dict(entry.text.cut), "digest": entry.text.digest},
        **({} if entry.live is None else {"live": entry.live}),
        "files": {name: list(record) for name, record in entry.files.items()},
    }
    storage.write_durably(entry_path(store, entry.sample), json.dumps(content, indent=0).encode())


def read_entries(store: Path, plans: Mapping[str, ArrayPlan], samples: int) -> dict[int, Entry]:
    """Read all entries, by sample.

    Raises:
        CacheError: an entry is unreadable, or lists other files than a sample of this store has.
    """
    entries = {}
    folder = store / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _ENTRY.fullmatch(path.name):
            sample = int(match[1])
            if sample >= samples:
                raise _unusable(path, f"sample {sample}", f"one of {samples} samples")
            entries[sample] = _read_entry(path, sample, plans)
    return entries


def check_files(store: Path, entry: Entry) -> None:
    """See that every file of a committed sample is there, with the size that the ledger says.

    Raises:
        CacheError: one is not; the message names the sample and the file.
    """
    for name, (size, _) in entry.files.items():
        on_disk = storage.plain_file_size(store / name)
        if on_disk != size:
            raise CacheError(
                f"{'no file' if on_disk is None else f'{on_disk} bytes in'} {name} of committed sample "
                f"{entry.sample}",
                f"a plain file of {size} bytes",
                f"Fetch it again; or delete {FOLDER}/{entry_path(store, entry.sample).name} and record "
                "with the same configuration to record this sample anew; "
                "or open with check_files=False to read the rest.",
            )


def _read_entry(path: Path, sample: int, plans: Mapping[str, ArrayPlan]) -> Entry:
    content = storage.read_json(path, f"the ledger entry of sample {sample}")
    try:
        files = {name: (int(size), str(checksum)) for name, (size, checksum) in content["files"].items()}
        nonfinite = {str(name): int(count) for name, count in content["nonfinite"].items()}
        saturated, text = _saturated(content.get("saturated")), _text(content.get("text"))
        live = None if content.get("live") is None else str(content["live"])
        entry = Entry(
            int(content["sample"]), str(content["committed"]), files, nonfinite, saturated, text, live
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _unusable(
            path, f"an unreadable entry ({error!r})", "files, nonfinite, sample, committed"
        ) from error
    expected = {plan.file_name(shard) for plan in plans.values() for shard in plan.shards(sample)}
    if entry.sample != sample or set(files) != expected:
        odd = sorted(set(files) ^ expected)[:3]
        raise _unusable(
            path,
            f"sample {entry.sample} with {len(files)} files (odd: {', '.join(odd) or 'none'})",
            f"sample {sample} with the {len(expected)} files that the manifest implies",
        )
    return entry


def _saturated(content: Any) -> SaturatedCounts | None:
    if content is None:
        return None
    return {
        str(name): {
            int(block): {int(channel): int(count) for channel, count in channels.items()}
            for block, channels in blocks.items()
        }
        for name, blocks in content.items()
    }


def _text(content: Any) -> EncodedText | None:
    if content is None:
        return None
    cut = {str(encoder): int(count) for encoder, count in content["cut"].items()}
    return EncodedText(cut, str(content["digest"]))


def _unusable(path: Path, found: str, expected: str) -> CacheError:
    return CacheError(
        f"{found} in {path}",
        expected,
        "Delete that entry and record the sample anew, or fetch the store again.",
    )
