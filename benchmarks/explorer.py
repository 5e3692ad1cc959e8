"""The explorer: how long one waits. Parts:

* ``shapes``: a slider's answers from the server, at the size of the embedded pipeline,
* ``flux``: the same at FLUX.1's size: 57 blocks of 4,096 tokens and 3,072 channels in bfloat16,
* ``browser``: from moving a slider in Chromium until the map and the ranking are drawn, at both sizes,
* ``opening``: a store of 1 TB, until its page has what the sliders need. Its files are sparse: they read as zeros, with
  checksums that are right, and take no room.

A slider's answers are those that are asked for at once: a channel's map and the ranking at the new place; ``tokens``
and ``mask`` follow when it rests. Every answer is of a place that was not asked for before.

    python benchmarks/explorer.py [--only PART ...] [--folder DIR] [--json benchmarks/results/explorer.json]
    python benchmarks/explorer.py --quick       # a try in seconds, whose figures mean nothing
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import google_crc32c
import numpy as np

import ditscope as ds
from ditscope.cache import CacheWriter, SampleSpec, build_manifest
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.sample_ledger import FILE, Entry, StoredFiles, line, now, samples_line
from ditscope.cache.shard_encoding import file_form
from ditscope.explorer.server import Server
from ditscope.explorer.stores import opened
from ditscope.explorer.view import Place
from filled_stores import BRANCH, SITE, STREAM, Hidden, fill
from side_by_side import Figure, Part, folder_in, options_parser, run_parts

SHAPES = Hidden(samples=4, steps=8, blocks=10, side=16, width=128, dtype="float32", different=8)
FLUX = Hidden(samples=1, steps=2, blocks=57, side=64, width=3072)
HUGE = replace(FLUX, samples=35, steps=20)
QUICK = Hidden(samples=2, steps=2, blocks=2, side=4, width=64)
MOST = {"shapes": 100.0, "flux": 300.0}
TOP = 6


def answers(name: str, hidden: Hidden, options: argparse.Namespace) -> Part:
    """What the server takes to answer."""
    moves = 4 if options.quick else 30
    with served(hidden, options) as server:
        ask = asking(server.address)
        taken: dict[str, list[float]] = {
            "slider": [],
            "channel_map": [],
            "channel_ranking": [],
            "tokens": [],
            "mask": [],
        }
        rng = np.random.default_rng(0)
        places = list(itertools.product(range(hidden.samples), range(hidden.steps), range(hidden.blocks)))
        order = rng.permutation(len(places))[: moves + 1]
        for turn, at in enumerate(order):
            sample, step, block = places[at]
            place = asdict(Place(STREAM, SITE, sample, step, BRANCH, block))
            channels = rng.choice(hidden.width, TOP, replace=False).tolist()
            each = {
                "channel_map": ask("channel_map", **place, channel=channels[0]),
                "channel_ranking": ask("channel_ranking", **place),
            }
            each["slider"] = sum(each.values())
            each["tokens"] = ask("tokens", **place)
            each["mask"] = ask("mask", **place, channels=",".join(map(str, channels)))
            for view, seconds in each.items() if turn else ():  # the first loads libraries
                taken[view].append(seconds * 1e3)
    figures = [
        Figure(f"{view}", values, "ms", most=MOST[name] if view != "mask" else None)
        for view, values in taken.items()
    ]
    shape = f"{hidden.blocks} blocks of {hidden.side**2:,} tokens and {hidden.width:,} channels"
    return Part(f"answers of the server, {shape} of {hidden.dtype}", figures)


def browser(options: argparse.Namespace) -> Part:
    """What one waits in a browser."""
    part = Part("in Chromium, from moving a slider until the map and the ranking are drawn")
    path = shutil.which("chromium")
    if path is None:
        return replace(part, work=f"{part.work}: no chromium here")
    from playwright.sync_api import sync_playwright

    for name, hidden in (("shapes", SHAPES), ("flux", FLUX)):
        own = QUICK if options.quick else hidden
        with served(own, options) as server, sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page(viewport={"width": 1280, "height": 1000})
            page.goto(server.address)
            page.wait_for_selector("[aria-busy=false]")
            taken = [page.evaluate(MOVE, block % own.blocks) for block in range(own.blocks - 2, -1, -1)]
            chromium.close()
        part.figures.append(
            Figure(f"the block's slider, {name} size", taken[1:] or taken, "ms", most=MOST[name])
        )
    return part


MOVE = """async (position) => {
  const slider = [...document.querySelectorAll("label")].find((each) => each.textContent === "Block").control;
  const root = document.querySelector(".ditscope-explorer"), before = root.dataset.drawn, begin = performance.now();
  slider.value = position;
  slider.dispatchEvent(new Event("input"));
  while (root.dataset.drawn === before) await new Promise(requestAnimationFrame);
  return performance.now() - begin;
}"""


def opening(options: argparse.Namespace) -> Part:
    """A store of 1 TB."""
    hidden = replace(QUICK, samples=3) if options.quick else HUGE
    with folder_in(options.folder) as folder:
        sparse(folder / "store", hidden)
        nbytes = ds.open_cache(folder / "store").nbytes
        taken = []
        for _ in range(options.rounds):
            begin = time.perf_counter()
            server = running(opened([folder / "store"]))
            asking(server.address)("recording")
            taken.append(time.perf_counter() - begin)
            server.stop()
        shown = running(opened([folder / "store"]))
        place = asdict(Place(STREAM, SITE, hidden.samples - 1, 0, BRANCH, 0))
        ask = asking(shown.address)
        first = [
            ask("channel_map", **place, channel=channel) + ask("channel_ranking", **place)
            for channel in (0, 40)
        ]
        shown.stop()
    figures = [
        Figure("until the sliders stand", taken, "s", most=1.0),
        Figure("the first map and ranking", [each * 1e3 for each in first], "ms", most=MOST["flux"]),
    ]
    return Part(f"opening a store of {nbytes / 1e12:.3f} TB, {hidden.samples} samples", figures)


def sparse(path: Path, hidden: Hidden) -> None:
    """A store of zeros, all samples committed, whose files take no room."""
    schema = hidden.schema()
    samples = [SampleSpec(f"prompt {i}", 0) for i in range(hidden.samples)]
    with CacheWriter.create_or_resume(path, schema, build_manifest(schema, {}), ()):
        pass  # none yet: for 1 TB there would have to be room
    cache = ds.open_cache(path)
    stored = {name: StoredFiles(checksums_of_zeros(plan)) for name, plan in cache.plans.items()}
    with (path / FILE).open("ab") as journal:
        journal.write(samples_line(0, samples))
        for number, spec in enumerate(samples):
            for name, plan in cache.plans.items():
                for shard, size in zip(plan.shards, plan.file_bytes, strict=True):
                    (path / name).mkdir(parents=True, exist_ok=True)
                    with (path / plan.file_name(number, shard)).open("wb") as handle:
                        handle.truncate(size)
            journal.write(line("commit", Entry(number, spec, now(), stored).to_json()))


def checksums_of_zeros(plan: ArrayPlan) -> np.ndarray:
    """CRC-32C of every chunk of an array of zeros."""
    forms = [file_form(plan, shard) for shard in plan.shards]
    return np.concatenate(
        [np.full(form.n_chunks, google_crc32c.value(bytes(form.chunk_bytes)), np.uint32) for form in forms]
    )


@contextmanager
def served(hidden: Hidden, options: argparse.Namespace) -> Iterator[Server]:
    """A server of a store, for as long as it is needed."""
    with folder_in(options.folder) as folder:
        fill(folder / "store", hidden)
        server = running(opened([folder / "store"]))
        try:
            yield server
        finally:
            server.stop()


def running(stores: Any) -> Server:
    """A server that answers."""
    server = Server(stores)
    threading.Thread(target=server.run, daemon=True).start()
    return server


def asking(address: str) -> Callable[..., float]:
    """Asks a server for a view; returns the seconds that it took."""

    def ask(view: str, **parameters: Any) -> float:
        begin = time.perf_counter()
        with urllib.request.urlopen(f"{address}view/{view}?{urlencode({'store': 0, **parameters})}") as reply:
            reply.read()
        return time.perf_counter() - begin

    return ask


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "shapes": lambda options: answers("shapes", QUICK if options.quick else SHAPES, options),
    "flux": lambda options: answers("flux", QUICK if options.quick else FLUX, options),
    "browser": browser,
    "opening": opening,
}


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for."""
    options = options_parser(__doc__ or "", PARTS, list(PARTS)).parse_args(arguments)
    run_parts(PARTS, options)


if __name__ == "__main__":
    main()
