"""What a study is: its settings, the result that measuring them gives, and the report of that result.

A saved result is a folder: ``config.json`` (the study's name and settings), ``results.json`` (its numbers, written
last: a folder without it holds no result), ``provenance.json`` (what it was measured with) and ``arrays.zarr``
(labelled arrays, images included, which xarray opens by itself). The report is drawn from these files alone.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from inspect import isabstract
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import xarray as xr

from ditscope._discovery import public_names
from ditscope._display import text_table
from ditscope._version import __version__, commit
from ditscope.errors import InputError, unknown_name
from ditscope.explorer.stores import stores_in
from ditscope.models.embedded import EMBEDDED_NAMES
from ditscope.paths import local_path
from ditscope.report.explorer import add_stores
from ditscope.report.page import made_with

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.report.page import Report

__all__ = ["Measured", "Progress", "Result", "Study"]


def scope_of(model: str) -> str:
    """What a result on a model is a fact about, in a sentence."""
    if model in EMBEDDED_NAMES:
        return "This is a fact about the small embedded pipeline, not about FLUX.1 or any other model."
    return "This is a fact about this checkpoint under these prompts, steps and guidance."


class Measured(NamedTuple):
    """What a study measured, as it is saved.

    Attributes:
        numbers: JSON values, the ones to be quoted.
        arrays: datasets by name: all that the report draws.
        provenance: JSON values on what was used, beside the model, its check and the versions.
    """

    numbers: Mapping[str, Any]
    arrays: Mapping[str, xr.Dataset]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Study(ABC):
    """A claim under test, with its settings.

    A study is a frozen dataclass of plain values and tuples of them, with ``name`` and ``claim`` as class attributes
    and two methods: ``measure`` runs the model, ``draw`` makes the report of what was saved.

    Attributes:
        name: what the study is called on the command line.
        claim: what is claimed, in one sentence.
        model: ``shapes``, a folder or a hub id.
    """

    name: ClassVar[str]
    claim: ClassVar[str]

    model: str = "shapes"

    @abstractmethod
    def measure(self, dit: DiT, folder: Path, progress: Progress) -> Measured:
        """Run the study.

        Args:
            dit: the model, checked against plain hooks.
            folder: where what is recorded may be kept, so that a second run can go on from it.
            progress: to be called with one line at the start of each part.
        """

    @abstractmethod
    def draw(self, result: Result) -> Report:
        """The report, from the saved result alone."""

    def run(
        self,
        folder: str | os.PathLike[str],
        *,
        dit: DiT | None = None,
        say: Callable[[str], None] = print,
        command: str = "",
    ) -> Result:
        """Check the model, measure, and write result, report and figures.

        Args:
            folder: made if it is not there. An older result in it is replaced when the new one is complete.
            dit: the model, if it is open already.
            say: called with one line at the start of each part.
            command: the command line that runs it, for its provenance.

        Raises:
            InputError: ``dit`` is another model than the configured one.
            CheckError: the model fails a check.
            ConfigMismatchError: the folder holds the recording of another configuration.
        """
        from ditscope.models.loading import load

        target = local_path(folder)
        if dit is not None and dit.name != self.model:
            raise InputError(
                f"the model {dit.name!r} for a study of {self.model!r}",
                "one model",
                f"Pass model={dit.name!r} to {type(self).__name__}.",
            )
        progress = Progress(say)
        progress("open the model and check it against plain hooks")
        dit = dit or load(self.model)
        check = dit.check().require()
        target.mkdir(parents=True, exist_ok=True)
        measured = self.measure(dit, target, progress)
        config = self.settings()
        numbers = {"config": config, "model": repr(dit), **measured.numbers, "seconds": progress.seconds()}
        claims = [
            {"claim": each.claim, "holds": each.holds, "detail": each.detail} for each in check.findings
        ]
        provenance = {
            "check": claims,
            "versions": check.versions,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": command or f"{type(self).__name__}(...).run({str(folder)!r})",
            "revision": dit.revision,
            "ditscope": __version__,
            "ditscope_commit": commit(),
            "stores": stores_in(target),
            **measured.provenance,
        }
        _write_arrays(target / "arrays.zarr", measured.arrays)
        said = ("claim", "source", "design", "controls")
        words = {each: getattr(self, each) for each in said if hasattr(self, each)}
        _write_json(target / "config.json", {"study": self.name, "config": config, "words": words})
        _write_json(target / "provenance.json", provenance)
        _write_json(target / "results.json", numbers)
        self.report(target)
        return self.load(target)

    def settings(self) -> dict[str, Any]:
        """The settings by name, as JSON takes them; :meth:`of` makes an equal study again."""
        return asdict(self)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Result:
        """The saved result in a folder.

        Raises:
            InputError: there is none, or it is another study's.
        """

        def study(name: str, config: Mapping[str, Any], source: Path) -> Study:
            if name != cls.name:
                raise InputError(f"a result of {name}", f"one of {cls.name}", "Choose another folder.")
            return cls.of(config["config"])

        return load_result(local_path(folder), study)[0]

    @classmethod
    def report(cls, folder: str | os.PathLike[str]) -> Path:
        """Draw the saved result in a folder: ``report.html`` and the figures as PNG, with no model and no recording;
        of recordings and sweeps that are there, a part to look at is put in.

        Raises:
            InputError: there is no result, or it is another study's.
        """
        result = cls.load(folder)
        report = result.study.draw(result)
        add_stores(report, result.folder)
        return report.write(folder)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The study with these settings, as JSON has them: a list is a tuple.

        Raises:
            InputError: a setting that the study does not have.
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in settings if name not in known]:
            raise unknown_name(f"setting of {cls.name}", unknown[0], known)
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
        return cls(**values)


@dataclass(frozen=True, repr=False)
class Result:
    """The saved result of a study.

    Attributes:
        study: the study with its settings.
        folder: where it is saved.
        numbers: what ``results.json`` holds.
        arrays: datasets by name.
        provenance: what it was measured with: ``check`` and ``versions``, and what the study added.
    """

    study: Study
    folder: Path
    numbers: Mapping[str, Any]
    arrays: Mapping[str, xr.Dataset]
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        rows = [(name, str(dict(dataset.sizes))) for name, dataset in self.arrays.items()]
        took = f"{sum(self.numbers['seconds'].values()):.0f} seconds"
        return text_table(
            f"<Result of {self.study.name} in {self.folder}>",
            [("model", self.numbers["model"]), ("measured in", took), *rows],
        )


class Progress:
    """Says what starts, and keeps the time of each part."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._starts: dict[str, float] = {}

    def __call__(self, part: str) -> None:
        """Start a part, which ends the one before it."""
        self._say(part)
        self._starts[part] = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Seconds that every part took until the next one started, the last one until now."""
        starts = [*self._starts.values(), time.perf_counter()]
        return {
            part: round(end - start, 1)
            for part, (start, end) in zip(self._starts, pairwise(starts), strict=True)
        }


def load_result(source: Path, study: Callable[[str, Any, Path], Any]) -> tuple[Result, str]:
    """The saved result in a folder, and the name of its study.

    Args:
        source: the folder.
        study: makes the study of its name, what ``config.json`` has, and the folder.

    Raises:
        InputError: there is none, or that of a claim that an older ditscope tested.
    """
    if not (source / "results.json").is_file():
        raise InputError(
            f"no results.json in {source}", "the folder of a finished study", "Run the study first."
        )
    numbers, provenance = (_read_json(source / f"{name}.json") for name in ("results", "provenance"))
    if "quantities" in numbers and "prompts_needed" not in numbers:
        raise InputError(
            f"a result of an older ditscope in {source}",
            "a claim whose number of prompts follows from a smallest effect of interest",
            "Run the claim again, into a new folder.",
        )
    config = _read_json(source / "config.json")
    made = study(config["study"], config, source)
    with xr.open_datatree(source / "arrays.zarr", engine="zarr", consolidated=False) as tree:
        arrays = {
            str(name): _in_order(_with_text(node.to_dataset().load(), "U"))
            for name, node in sorted(tree.children.items())
        }
    return Result(made, source, numbers, arrays, provenance), config["study"]


def files(result: Result) -> dict[str, str]:
    """What lies in the folder of a result, for a report to link."""
    always = {
        "numbers": "results.json",
        "what it was measured with": "provenance.json",
        "settings": "config.json",
        "labelled arrays": "arrays.zarr",
    }
    return always | {
        f"store {number}": path for number, path in enumerate(result.provenance.get("stores", ()), 1)
    }


def origins(result: Result) -> dict[str, object]:
    """Rows of a report's closing table that every study has: when, how and with what, and on what prompts."""
    known = result.provenance
    prompts = [
        *known.get("choosing_prompts", ()),
        *known.get("tested_prompts", ()),
        *known.get("prompts", ()),
    ]
    rows = {
        "date": known.get("date"),
        "command": known.get("command"),
        "revision": known.get("revision") or "none: not from a hub",
        "versions": known["versions"],
        **made_with(known.get("ditscope"), known.get("ditscope_commit")),
        "prompts": prompts,
        "seeds": known.get("seeds"),
    }
    return {name: value for name, value in rows.items() if value}


def known_studies() -> dict[str, type[Study]]:
    """Every study that the package and installed distributions offer, by name."""
    offered = public_names("ditscope.studies").values()
    studies = [each for each in offered if isinstance(each, type) and issubclass(each, Study)]
    return {study.name: study for study in studies if not isabstract(study)}


def _write_arrays(path: Path, arrays: Mapping[str, xr.Dataset]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # Only text of any length has a data type in the specification of zarr v3. How an array was stored where it comes
    # from is no matter here, and may not fit what was made of it.
    tree = xr.DataTree.from_dict(
        {name: _with_text(dataset, "O").drop_encoding() for name, dataset in arrays.items()}
    )
    tree.to_zarr(partial, consolidated=False)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def _in_order(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with its variables by name: zarr lists them in whatever order the disk answers."""
    coords = sorted(map(str, dataset.coords), key=lambda name: (name not in dataset.dims, name))
    ordered = xr.Dataset(coords={name: dataset[name].variable for name in coords}, attrs=dataset.attrs)
    return ordered.assign({name: dataset[name].variable for name in sorted(map(str, dataset.data_vars))})


def _with_text(dataset: xr.Dataset, kind: str) -> xr.Dataset:
    """The dataset with every text as numpy's ``U``, or as the objects that are written as text of any length."""
    texts = {
        name: variable.copy(data=np.array(variable.values.tolist(), dtype=kind))
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "UOT"
    }
    return dataset.assign(texts)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
