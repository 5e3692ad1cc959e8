"""A sweep on disk: one zarr v3 group of images, and a journal of the runs that are finished.

``zarr.json`` has, in its attribute ``ditscope_sweep``, what the sweep consists of and with which model and call it is
made: another one is refused by naming the fields. The plain forms of the edits and guidances are in ``edits.json``, by
their digests, which are there cell by cell. ``journal.jsonl`` has a line for each finished run, with its scores,
behind its own CRC-32C; a run is there once its line is, which is written after its images. What is behind the last
whole line was cut off while it was written. A line ``checked`` says that the model was then found to be what it was; a
sweep that goes on makes again what is behind the last one, which a process that was killed did not come to compare.
``images`` and ``baseline_images`` are arrays of zarr, a chunk for each run of a batch.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr

from ditscope._version import __version__
from ditscope.cache import files
from ditscope.cache.json_values import json_values
from ditscope.cache.lock import held
from ditscope.cache.manifest import differences, listed
from ditscope.errors import CacheError, ConfigMismatchError
from ditscope.experiments.kept import PIXELS, Kept, scaled
from ditscope.experiments.outline import Outline, RunKey
from ditscope.experiments.scoring import Scored
from ditscope.paths import local_path

ATTRIBUTE, VERSION = "ditscope_sweep", 2
READ = (1, VERSION)
"""Versions that can be read; those of before the last can not be gone on with: docs/format.md says what they lack."""

ROOT, JOURNAL, EDITS = "zarr.json", "journal.jsonl", "edits.json"
_ARRAYS = ("images", "baseline_images")
_MOST_JOURNAL_BYTES = 2**31


class SweepStore(Kept):
    """What is kept of the runs of a sweep, on disk; see :func:`opened`.

    Args:
        path: the store.
        outline: what the sweep consists of.
    """

    def __init__(self, path: Path, outline: Outline) -> None:
        super().__init__(outline)
        self.path = path
        self._digests: dict[int, str] = {}
        self._end = self._checked = 0
        self._unchecked: list[RunKey | int] = []
        for number, line in enumerate(self._lines()):
            try:
                self._take(line)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise CacheError(
                    f"line {number + 1} of {path / JOURNAL} that says nothing of this sweep ({error!r})",
                    "lines as they were written",
                    "The store is damaged: sweep into a new path.",
                ) from error

    def add_baseline(
        self, batch: int, scored: Scored, truncated: Sequence[bool], images: np.ndarray | None, digest: str
    ) -> None:
        """Keep a batch's baseline, durably; of one that is there already, see that it is the same.

        Raises:
            ConfigMismatchError: it made something else before.
        """
        known = self._digests.setdefault(batch, digest)
        if known != digest:
            raise ConfigMismatchError(
                f"an unedited run of batch {batch} that makes something else than when the sweep began",
                f"the same, of which {self.path} has the digest {known}",
                "Go on with the device, the threads and the callbacks with which it began, or sweep into a new path.",
            )
        if batch not in self.baselines:
            super().add_baseline(batch, scored, truncated, images, digest)
            self._unchecked.append(batch)
            self._write(
                {"baseline": batch, "truncated": list(truncated), "digest": digest, **_packed(scored)}
            )

    def add(self, key: RunKey, scored: Scored, images: np.ndarray | None) -> None:
        """Keep a run, durably."""
        super().add(key, scored, images)
        self._unchecked.append(key)
        self._write({"run": list(key), **_packed(scored)})

    def checked(self) -> None:
        """As of :class:`Kept`, durably."""
        if self._unchecked:
            self._write({"checked": len(self._unchecked)})
        self._mark()

    def drop_unchecked(self) -> None:
        """As of :class:`Kept`."""
        if not self._unchecked:
            return
        files.append(self.path / JOURNAL, b"", self._checked)
        self._end = self._checked
        for key in self._unchecked:
            if isinstance(key, RunKey):
                del self.runs[key]
            else:
                del self.baselines[key], self.truncated[key], self._digests[key]
        self._unchecked.clear()

    def images(self) -> dict[str, xr.Variable]:
        """As of :class:`Kept`, read when they are asked for."""
        if self.outline.image_size is None:
            return {}
        with warnings.catch_warnings():
            # zarr is told of the journal and the edits, which are no arrays.
            warnings.filterwarnings("ignore", f"Object at ({JOURNAL}|{EDITS})")
            stored = xr.open_zarr(self.path, consolidated=False, chunks=None)
        return {name: stored[name].variable for name in _ARRAYS}

    def _keep(self, key: RunKey | int, images: np.ndarray | None) -> None:
        outline = self.outline
        if outline.image_size is None or images is None:
            return
        rows = scaled(images, outline.image_size)
        chunk = np.zeros((outline.batch_size, *rows.shape[1:]), np.uint8)
        chunk[: len(rows)] = rows
        if isinstance(key, RunKey):
            place = (*np.unravel_index(key.cell, outline.shape), key.edit, key.draw, key.batch)
            name = f"images/c/{'/'.join(map(str, place))}/0/0/0"
        else:
            name = f"baseline_images/c/{key}/0/0/0"
        path = self.path / name
        files.make_folders(path.parent, durable=True)
        files.write_new(path, chunk)
        files.sync_folder(path.parent)

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":")).encode()
        data = b"%08x %s\n" % (google_crc32c.value(text), text)
        files.append(self.path / JOURNAL, data, self._end)
        self._end += len(data)

    def _lines(self) -> Iterator[Any]:
        whole = files.read(self.path / JOURNAL, _MOST_JOURNAL_BYTES)
        lines = whole.split(b"\n")[:-1]  # what has no end was cut off
        for number, line in enumerate(lines):
            checksum, _, text = line.partition(b" ")
            if checksum != b"%08x" % google_crc32c.value(text):
                if number == len(lines) - 1:
                    return
                raise CacheError(
                    f"line {number + 1} of {self.path / JOURNAL} whose checksum is another",
                    "lines as they were written",
                    "The store is damaged: sweep into a new path.",
                )
            self._end += len(line) + 1
            yield files.json_of(text)

    def _mark(self) -> None:
        self._checked = self._end
        self._unchecked.clear()

    def _take(self, line: Mapping[str, Any]) -> None:
        if "checked" in line:
            self._mark()
        elif "run" in line:
            key = RunKey(*line["run"])
            self.runs[key] = _unpacked(line, len(self.outline.metrics))
            self._unchecked.append(key)
        else:
            batch = line["baseline"]
            self.baselines[batch] = _unpacked(line, len(self.outline.metrics))
            self.truncated[batch], self._digests[batch] = line["truncated"], line["digest"]
            self._unchecked.append(batch)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str],
    outline: Outline,
    config: Mapping[str, Any],
    edits: Mapping[str, Sequence[Any]],
) -> Iterator[SweepStore]:
    """The store of a sweep at a path, to go on with; a new one where there is none. It is held meanwhile.

    Args:
        path: where it is.
        outline: what the sweep consists of.
        config: all else that decides its numbers, as JSON values.
        edits: name -> what is applied under it, cell by cell, likewise.

    Raises:
        ConfigMismatchError: there is one of another sweep; the message names the fields that differ.
        CacheError: there is something else, or a sweep of an older version, or another process is at it.
    """
    folder = local_path(path)
    forms = {name: [json.dumps(each, sort_keys=True).encode() for each in of] for name, of in edits.items()}
    digests = {name: [hashlib.sha256(form).hexdigest() for form in of] for name, of in forms.items()}
    config = {**config, "edits": digests}
    asked = json_values({"outline": outline.to_json(), "config": config}, "sweep")
    manifest = {"version": VERSION, "ditscope": __version__, **asked}
    _require_free(folder)
    try:
        files.make_folders(folder, durable=True)
    except OSError as error:
        raise CacheError(
            f"no folder for a sweep at {folder} ({error.strerror})", "a folder", "Choose another path."
        ) from error
    with held(folder):
        if files.size(folder / ROOT) is None:
            known = {
                digest: form
                for name in forms
                for digest, form in zip(digests[name], forms[name], strict=True)
            }
            _create(folder, outline, manifest, known)
        there = _manifest(folder)
        if there["version"] != VERSION:
            raise CacheError(
                f"a sweep at {folder} of version {there['version']}, which an older ditscope wrote: its journal need "
                "not say which runs were compared with the model ('checked')",
                f"version {VERSION}, to go on with",
                "Read what it has with ds.open_sweep(path), and sweep into another path.",
            )
        found = [_deciding(each) for each in (there, manifest)]
        if found[0] != found[1]:
            fields = differences(*found)
            remedy = "Choose another path, or call it as it was begun."
            kept = there["outline"]["image_size"] is not None and there["outline"]["images"] == "keep"
            if kept and any(each.field.startswith("metric_") for each in fields):
                remedy += (
                    " Images that it kept can be judged anew: metric(ds.open_sweep(path)['images'][...])."
                )
            raise ConfigMismatchError(
                f"a sweep at {folder} of another configuration ({listed(fields)})",
                "the same sweep, to go on with",
                remedy,
            )
        if there["ditscope"] != __version__:
            warnings.warn(
                f"the sweep at {folder} was begun with ditscope {there['ditscope']} and goes on with {__version__}: "
                "what is ditscope's own, such as its metrics, is taken to be the same.",
                stacklevel=6,
            )
        attrs = _manifest(folder)["outline"]["attrs"]  # which say, too, with what it was begun
        store = SweepStore(folder, replace(outline, attrs=attrs))
        store.drop_unchecked()
        yield store


def read(path: str | os.PathLike[str]) -> SweepStore:
    """The store of a sweep at a path, to be read.

    Raises:
        CacheError: there is none, or it is damaged.
    """
    folder = local_path(path)
    manifest = _manifest(folder)
    try:
        outline = Outline.from_json(manifest["outline"])
    except KeyError as error:
        raise CacheError(
            f"a sweep at {folder} of version {manifest['version']} without {error}, which decides what its numbers are",
            "all that the version has by docs/format.md",
            "Sweep into a new path; the numbers are in its journal.",
        ) from error
    return SweepStore(folder, outline)


def _deciding(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers, under the names of the arguments; the attributes say it once more, for a reader."""
    outline = {name: value for name, value in manifest["outline"].items() if name != "attrs"}
    # Results are kept by position, and mappings are equal in any order.
    order = [*outline["dims"], *outline["edits"]]
    return {**outline, **manifest["config"], "order": order}


def _require_free(folder: Path) -> None:
    """See that a path is free, has a sweep, or what a creation that was cut off has left."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CacheError(f"a file at {folder}", "a path of its own for a sweep", "Choose another path.")
    if not (folder / ROOT).exists():
        other = [
            name for name in files.names(folder) if name not in (*_ARRAYS, JOURNAL, EDITS, f".{ROOT}.partial")
        ]
        if other:
            raise CacheError(
                f"a folder with {other[0]} and no sweep at {folder}",
                "an empty folder",
                "Choose another path.",
            )
    _ = _manifest(folder) if (folder / ROOT).exists() else None


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        known = files.size(folder / ROOT) is not None
    except NotADirectoryError:
        known = False
    if not known:
        raise CacheError(f"no sweep at {folder}", "a store that ds.sweep made", "Check the path.")
    root = files.read_json(folder / ROOT, "the metadata of a zarr v3 group")
    attributes = root.get("attributes", {}) if isinstance(root, dict) else {}
    manifest = attributes.get(ATTRIBUTE)
    if not isinstance(manifest, dict) or "outline" not in manifest:
        kind = "a cache of hidden states" if "ditscope" in attributes else "a zarr group of something else"
        raise CacheError(f"{kind} at {folder}", "a store that ds.sweep made", "Choose another path.")
    if manifest.get("version") not in READ:
        raise CacheError(
            f"version {manifest.get('version')} of a sweep at {folder}",
            f"version {' or '.join(map(str, READ))}",
            "Update ditscope.",
        )
    return manifest


def _create(folder: Path, outline: Outline, manifest: Mapping[str, Any], edits: Mapping[str, bytes]) -> None:
    """Lay out a new store; the root comes last, so that there is a whole empty one or none."""
    if outline.image_size is not None:
        samples = (len(outline.prompts), *outline.image_size, 3)
        chunk = (min(outline.batch_size, len(outline.prompts)), *outline.image_size, 3)
        lead = (*outline.shape, len(outline.edits), outline.most_draws)
        shapes = {
            "images": ((*lead, *samples), (*(1 for _ in lead), *chunk), (*outline.dims, "edit", "draw")),
            "baseline_images": (samples, chunk, ()),
        }
        for name, (shape, chunks, dims) in shapes.items():
            files.make_folders(folder / name)
            text = _array(shape, chunks, (*dims, "sample", *PIXELS))
            files.write_new(folder / name / ROOT, text)
            files.sync_folder(folder / name)
    files.write_new(
        folder / EDITS,
        b"{" + b",\n".join(b'"%s":%s' % (key.encode(), form) for key, form in edits.items()) + b"}",
    )
    files.write_new(folder / JOURNAL, b"")
    root = {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: manifest}}
    files.replace(folder / ROOT, json.dumps(root).encode())


def _array(shape: Sequence[int], chunks: Sequence[int], dims: Sequence[str]) -> bytes:
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [{"name": "bytes"}],
            "dimension_names": dims,
            "attributes": {},
        }
    ).encode()


def _packed(scored: Scored) -> dict[str, str]:
    """Scores bit for bit, NaN and infinities too, which JSON does not know."""
    rows = np.stack(
        [*scored.scores, scored.fired.astype(float), scored.removed, scored.moved, scored.matched]
    )
    return {"numbers": base64.b64encode(rows.astype("<f8").tobytes()).decode("ascii")}


def _unpacked(line: Mapping[str, Any], n_metrics: int) -> Scored:
    rows = np.frombuffer(base64.b64decode(line["numbers"]), "<f8").reshape(n_metrics + 4, -1)
    return Scored(rows[:n_metrics], rows[n_metrics].astype(int), *rows[n_metrics + 1 :])
