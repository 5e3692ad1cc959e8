"""Ways of doing the same work in turns; what comes out beside what is aimed at; results kept as JSON."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ditscope as ds
import result_table
from measuring import device_name, say, spread

LIBRARIES = ("torch", "nnsight", "diffusers", "zarr", "numpy", "safetensors")


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What every way returns in every round: seconds, say.

    Each round begins with another way, since the speed of disks and processors drifts.
    """
    names, found = list(ways), {name: [0.0] * rounds for name in ways}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            say(f"round {turn + 1} of {rounds}: {name}")
            found[name][turn] = ways[name]()
            say(f"round {turn + 1} of {rounds}: {name}: {found[name][turn]:.2f}")
    return found


def ratios(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """Of two ways, round by round: what drifts between rounds is in both."""
    return [value / other for value, other in zip(values, to, strict=True)]


@dataclass(frozen=True)
class Figure:
    """One number that a benchmark finds.

    Attributes:
        what: it is of.
        values: one a round.
        unit: of the values.
        most: the largest median that is aimed at; None if it is not that.
        least: the smallest median that is aimed at; None if it is not that.
    """

    what: str
    values: Sequence[float]
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is as aimed at; None without a target."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.median <= self.most) and (
            self.least is None or self.median >= self.least
        )

    @property
    def target(self) -> str:
        """In words, empty without one."""
        aims = (("at most", self.most), ("at least", self.least))
        return ", ".join(f"{words} {value:g}" for words, value in aims if value is not None)

    def line(self) -> str:
        """Figure with spread, target, met or not."""
        verdict = {True: "met", False: "NOT MET", None: ""}[self.met]
        aimed = f"   {self.target}: {verdict}" if self.target else ""
        return f"{self.what + ':':66} {spread(self.values)}{' ' * bool(self.unit)}{self.unit}{aimed}"

    def to_json(self) -> dict[str, Any]:
        """As kept in a file of results."""
        named = {"what": self.what, "unit": self.unit, "target": self.target, "met": self.met}
        return {**named, "median": self.median, "values": list(self.values)}


@dataclass
class Part:
    """What one part of a benchmark finds.

    Attributes:
        work: what is done, in words.
        figures: the numbers.
        table: rows, column -> cell, for what is told of several ways.
    """

    work: str
    figures: list[Figure] = field(default_factory=list)
    table: list[dict[str, str]] = field(default_factory=list)

    def show(self) -> None:
        """Print all of it."""
        print(f"\n{self.work}")
        for figure in self.figures:
            print(f"  {figure.line()}")
        if self.table:
            print(result_table.line(list(self.table[0])))
            print(result_table.line(["---"] * len(self.table[0])))
            for row in self.table:
                print(result_table.line(list(row.values())))
        sys.stdout.flush()

    def to_json(self) -> dict[str, Any]:
        """As kept in a file of results."""
        return {"work": self.work, "figures": [f.to_json() for f in self.figures], "table": self.table}


def options_parser(about: str, parts: Mapping[str, object], usual: Sequence[str]) -> ArgumentParser:
    """What every benchmark of parts takes; ``usual`` parts are run where none is named."""
    parser = ArgumentParser(description=about, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a try in seconds, whose figures mean nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=usual, metavar="PART", help=", ".join(parts)
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument(
        "--folder", help="on the disk to be measured; the system's temporary folder by default"
    )
    parser.add_argument("--json", type=Path, help="file in which the results of these parts are renewed")
    parser.add_argument(
        "--child", nargs="+", help="for the benchmark itself: what a process of its own finds"
    )
    return parser


@contextmanager
def folder_in(parent: str | None) -> Iterator[Path]:
    """A folder for as long as it is needed."""
    folder = Path(tempfile.mkdtemp(prefix="ditscope-benchmark-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_parts(parts: Mapping[str, Callable[[Namespace], Part]], options: Namespace) -> dict[str, Part]:
    """Run what ``options.only`` names; show it, and keep it where ``options.json`` says, if it does."""
    found = {}
    for name in options.only:
        say(name)
        found[name] = parts[name](options)
        found[name].show()
        if options.json is not None:
            keep(options.json, name, found[name], options)
    return found


def keep(path: Path, name: str, part: Part, options: Namespace) -> None:
    """Put a part's result, with what it was measured on, into a file in the place of an earlier one."""
    kept = json.loads(path.read_text()) if path.is_file() else {}
    setting = {
        "device": device_name(options.device),
        "rounds": options.rounds,
        "ditscope": ds.__version__,
        **{library: version(library) for library in LIBRARIES},
    }
    kept[name] = {"setting": setting, **part.to_json()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def in_child(script: str, *arguments: str) -> Any:
    """What a script prints as JSON in its last line, run as a process of its own: memory is its alone."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
