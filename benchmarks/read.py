"""Reading stores: how fast, how much of the disk, in how much memory. Parts:

* ``opening``: a store of 10,000 samples,
* ``commit``: what a tiny sample takes to be committed, in time and files,
* ``tensors``: ranking channels from hidden states, beside reading the store's files by the system's own calls,
* ``statistics``: ranking channels from recorded statistics, 2,000 samples,
* ``channels``: twelve scattered channels of a block of FLUX.1's size, beside reading the block whole,
* ``memory``: the largest resident set of a ranking, of masks and of stability over 1,000 samples, each in a process of
  its own, above what was resident when the store was open.

Stores are made without a model, see ``filled_stores.py``. Before each reading the system is asked to drop the store's
files from memory (``posix_fadvise``), which leaves names and sizes of files there; a tmpfs drops nothing.

    python benchmarks/read.py [--only PART ...] [--rounds 3] [--folder DIR] [--json benchmarks/results/read.json]
    python benchmarks/read.py --quick       # a try in seconds, whose figures mean nothing
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ditscope as ds
from filled_stores import BRANCH, Filled, Hidden, fill
from measuring import resident, say, size_on_disk, take
from raw_files import bytes_read, forget, read_raw
from side_by_side import Figure, Part, folder_in, in_child, in_turns, options_parser, ratios, run_parts

MIB, GIB = 2**20, 2**30
TINY = Hidden(samples=1000, steps=1, blocks=2, side=4, width=32, different=64)
FLUX = Hidden(samples=12, steps=1, blocks=2, side=64, width=3072)
FEW = 12


def tiny(samples: int, options: argparse.Namespace) -> Hidden:
    """So many tiny samples."""
    return replace(TINY, samples=max(4, samples // 1000) if options.quick else samples)


def flux(options: argparse.Namespace) -> Hidden:
    """Hidden states of FLUX.1's size, 604 MB."""
    return replace(FLUX, samples=2, side=4, width=64) if options.quick else FLUX


def opening(options: argparse.Namespace) -> Part:
    """A store of many samples."""
    hidden = tiny(10_000, options)
    with filled(hidden, options) as (store, _):
        times = in_turns({"open": lambda: timed(store, lambda: ds.open_cache(store))}, options.rounds)
        files = files_in(store)
    figures = [Figure("opening", times["open"], "s", most=1.0), Figure("files in the store", [files])]
    return Part(f"opening a store of {hidden.samples:,} samples", figures)


def commit(options: argparse.Namespace) -> Part:
    """What a tiny sample takes."""
    hidden = tiny(2000, options)
    with filled(hidden, options) as (store, took), filled(replace(hidden, samples=1), options) as (first, _):
        files = (files_in(store) - files_in(first)) / (hidden.samples - 1)
    window, at = max(1, hidden.samples // 10), [0.0, *took.committed]
    times = [(at[n + window] - at[n]) / window * 1e3 for n in range(0, hidden.samples - window + 1, window)]
    figures = [
        Figure(f"putting and committing a sample, {window} by {window}", times, "ms", most=3.0),
        Figure("files a sample", [files]),
    ]
    return Part(f"committing {hidden.samples:,} tiny samples", figures)


def tensors(options: argparse.Namespace) -> Part:
    """Ranking from hidden states."""
    hidden = flux(options)
    with filled(hidden, options, stats=False) as (store, _):
        nbytes = size_on_disk(store)
        ways = {
            "raw read": lambda: timed(store, lambda: read_raw(store)),
            "ranking": lambda: timed(store, lambda: rank(ds.open_cache(store))),
        }
        times = in_turns(ways, options.rounds)
    figures = [Figure(f"{way}", [nbytes / 1e6 / each for each in times[way]], "MB/s") for way in ways]
    figures.append(Figure("ranking, of the raw rate", ratios(times["raw read"], times["ranking"]), least=0.7))
    return Part(f"ranking from tensors of {nbytes / 1e6:,.0f} MB of {hidden.dtype}", figures)


def statistics(options: argparse.Namespace) -> Part:
    """Ranking from recorded statistics."""
    hidden = tiny(2000, options)
    with filled(hidden, options) as (store, _):
        times = in_turns({"rank": lambda: timed(store, lambda: rank(ds.open_cache(store)))}, options.rounds)
    each = [seconds / hidden.samples * 1e3 for seconds in times["rank"]]
    figures = [
        Figure("opening and ranking", times["rank"], "s"),
        Figure("the same, a sample", each, "ms", most=0.5),
    ]
    return Part(f"ranking from recorded statistics of {hidden.samples:,} tiny samples", figures)


def channels(options: argparse.Namespace) -> Part:
    """Scattered channels of a block."""
    hidden = flux(options)
    ids = [number * hidden.width // FEW + number % 7 for number in range(FEW)]
    read: dict[str, list[int]] = {"whole": [], "few": []}
    with filled(hidden, options, stats=False) as (store, _):
        cache = ds.open_cache(store)

        def block(way: str, **asked: Any) -> float:
            turn = len(read[way])
            at = {"sample": turn % hidden.samples, "step": 0, "branch": 0, "block": turn % hidden.blocks}
            before = bytes_read()
            seconds = timed(store, lambda: cache.hidden(**asked).isel(at).values)
            read[way].append(bytes_read() - before)
            return seconds

        ways = {"whole": partial(block, "whole"), "few": partial(block, "few", channels=ids)}
        times = in_turns(ways, options.rounds)
    figures = [
        Figure("the block whole", [each * 1e3 for each in times["whole"]], "ms"),
        Figure(f"{FEW} channels", [each * 1e3 for each in times["few"]], "ms"),
        Figure(f"{FEW} channels, times as fast", ratios(times["whole"], times["few"]), least=5),
    ]
    if all(read["whole"]):
        share = ratios(read["few"], read["whole"])
        figures.append(Figure(f"{FEW} channels, of the bytes read by system calls", share, most=0.15))
    words = f"{FEW} scattered channels of a block [{hidden.side**2}, {hidden.width}] of {hidden.dtype}"
    return Part(words, figures)


def memory(options: argparse.Namespace) -> Part:
    """What passes take, at most."""
    few, many = flux(options), tiny(1000, options)
    part = Part("largest resident set of a pass, above the open store")
    for hidden, stats, names in ((few, False, ("ranking", "masks")), (many, True, ("stability",))):
        with filled(hidden, options, stats=stats) as (store, _):
            for name in names:
                say(name)
                asked = (name, str(store))
                held = held_by(*asked) if options.quick else in_child(__file__, "--child", *asked)
                if held is not None:
                    words = f"{name}, {hidden.samples:,} samples, {size_on_disk(store) / 1e6:,.0f} MB"
                    part.figures.append(Figure(words, [held / MIB], "MiB", most=GIB / MIB))
    return part


def held_by(name: str, store: str) -> int | None:
    """Bytes that a pass adds to the resident set, at most; None where the system does not say."""
    cache = ds.open_cache(store)
    before = resident()
    most = take(lambda: PASSES[name](cache), "cpu").host_bytes
    return None if most is None else most - before


def rank(cache: Any) -> Any:
    """By the default statistic."""
    return ds.passes.rank_channels(cache)


PASSES: dict[str, Callable[[Any], Any]] = {
    "ranking": rank,
    "masks": lambda cache: ds.passes.spatial_masks(cache, branch=BRANCH),
    "stability": lambda cache: ds.passes.stability(cache, across=["sample"]),
}


@contextmanager
def filled(hidden: Hidden, options: argparse.Namespace, **kept: bool) -> Iterator[tuple[Path, Filled]]:
    """A store of hidden states, and what filling it took, for as long as it is needed."""
    with folder_in(options.folder) as folder:
        say(f"fill a store with {hidden.samples:,} samples, {hidden.nbytes / 1e6:,.0f} MB")
        yield folder / "store", fill(folder / "store", hidden, **kept)


def timed(store: Path, run: Callable[[], Any]) -> float:
    """Seconds of a reading from files that were dropped from memory."""
    forget(store)
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def files_in(store: Path) -> int:
    """How many."""
    return sum(path.is_file() for path in store.rglob("*"))


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "opening": opening,
    "commit": commit,
    "tensors": tensors,
    "statistics": statistics,
    "channels": channels,
    "memory": memory,
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Part]:
    """Run the parts that are asked for."""
    options = options_parser(__doc__, PARTS, list(PARTS)).parse_args(arguments)
    if options.child:
        print(json.dumps(held_by(*options.child)))
        return {}
    return run_parts(PARTS, options)


if __name__ == "__main__":
    main()
