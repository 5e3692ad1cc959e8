"""A sweep beside running everything again, by hand in nnsight and by plain hooks.

In turns, in one run; ratios are of one round, and their median is given. On a CPU, seconds are those of the processor,
which others that are at work there do not change. Each cell zeroes twelve channels at one block and step of the
embedded pipeline, and every way scores each image by its distance from the unedited one. Parts:

* ``uniform``: all blocks and all steps,
* ``late``: all blocks and the last quarter of the steps,
* ``alone``: one edited run that shares nothing, from the first block of the first step,
* ``together``: several edits in one forward pass, and how far that moves the numbers,
* ``long``: the memory of a sweep of ``--runs`` runs, into a store with thumbnails.

Of a grid, at most ``--cells`` blocks and as many steps are taken, evenly, from first to last, so that what is shared is
on average what the whole grid would share; the unedited run, which every way makes once, weighs more than in that. The
ways that run everything again make at most ``--others`` cells of it, evenly: their runs all cost the same, and their
seconds are given for as many as ditscope makes.

    python benchmarks/sweep.py [--only PART ...] [--rounds 3] [--cells 20] [--json benchmarks/results/sweep.json]
    python benchmarks/sweep.py --quick        # a try in seconds, whose figures mean nothing
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.tracing.run import run_traced
from measuring import PROCESS
from side_by_side import Figure, Part, in_turns, options_parser, ratios, run_parts

CHANNELS = list(range(12))
SWEEP, HOOKS, NNSIGHT = "ditscope, sweep", "plain hooks, all again", "nnsight by hand, all again"
METRIC = "mean_abs_difference"
VISITS = 2
"""Of a step: the pipeline's folder asks for guidance."""
Cell = tuple[int, int]
"""Block and step."""


class Work:
    """The embedded pipeline and what is done with it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.dit = ds.load("shapes", device=options.device)
        self.pipeline = self.dit.diffusers_pipeline
        self.pipeline.set_progress_bar_config(disable=True)
        self.prompt, self.steps = ds.shapes.prompts(1)[0], options.steps
        self.call = {**self.dit.call_defaults, "num_inference_steps": self.steps}

    def sweep(self, steps: list[int], blocks: list[int], **more: Any) -> np.ndarray:
        """By ditscope: the effects ``[block, step]``."""
        grid = ds.grid(
            lambda block, step: {"zero": ds.edits.zero(CHANNELS, blocks=block, steps=step)},
            block=blocks,
            step=steps,
        )
        call = {"num_inference_steps": self.steps, **more}
        result = ds.sweep(self.dit, self.prompt, 0, grid, METRIC, images="drop", **call)
        return result["effect"].values[0, :, :, 0, 0, 0]

    def again(self, image: Callable[[Cell | None], np.ndarray], cells: list[Cell]) -> np.ndarray:
        """By whole runs: those of some cells."""
        bare = image(None)
        of = ds.metrics.METRICS[METRIC]
        return np.array([of(image(cell), reference=bare)[0] for cell in cells])

    def with_hooks(self, cell: Cell | None) -> np.ndarray:
        """One image under a plain forward hook, on a pipeline that nothing else reads."""
        with torch.no_grad(), self._hooked(cell):
            generator = [torch.Generator(self.dit.device).manual_seed(0)]
            made = self.pipeline([self.prompt], generator=generator, output_type="np", **self.call).images
        return np.round(made * 255).astype(np.uint8)

    def with_nnsight(self, cell: Cell | None) -> np.ndarray:
        """One image by nnsight, written by hand."""
        blocks = [*self.dit.transformer.transformer_blocks, *self.dit.transformer.single_transformer_blocks]
        generator = [torch.Generator(self.dit.device).manual_seed(0)]
        call = {**self.call, "generator": generator, "output_type": "np"}
        if cell is None:
            made = self.dit.generate([self.prompt], **call)
        else:
            with self.dit.generate([self.prompt], **call) as tracer:
                first = cell[1] * VISITS
                for _ in tracer.iter[first : first + VISITS]:
                    text, image = blocks[cell[0]].output
                    image = image.clone()
                    image[:, :, CHANNELS] = 0
                    blocks[cell[0]].output = (text, image)
                made = tracer.result.save()
        return np.round(made.images * 255).astype(np.uint8)

    def with_ditscope(self, cell: Cell) -> np.ndarray:
        """One image by ditscope, all of it computed."""
        edit = ds.edits.zero(CHANNELS, blocks=cell[0], steps=cell[1])
        visitor = EditedVisit(self.dit, [edit], range(self.steps))
        made = run_traced(self.dit, [(self.prompt, 0)], visitor, num_inference_steps=self.steps)
        visitor.firings.table()
        return made.images

    @contextmanager
    def _hooked(self, cell: Cell | None) -> Iterator[None]:
        if cell is None:
            yield
            return
        transformer, visits = self.pipeline.transformer, []

        def zero(_module: Any, _args: Any, output: Any) -> Any:
            visits.append(None)
            if (len(visits) - 1) // VISITS != cell[1]:
                return output
            image = output[1].clone()
            image[:, :, CHANNELS] = 0
            return output[0], image

        block = [*transformer.transformer_blocks, *transformer.single_transformer_blocks][cell[0]]
        handle = block.register_forward_hook(zero)
        try:
            yield
        finally:
            handle.remove()


def evenly(first: int, last: int, count: int) -> list[int]:
    """Whole numbers from the first to the last, as many as there may be of them, with the middle as their mean."""
    return sorted({round(number) for number in np.linspace(first, last, min(count, last - first + 1))})


def measured(
    ways: Mapping[str, Callable[[], np.ndarray]], rounds: int, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Seconds of every way in every round, and what it makes."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    found: dict[str, np.ndarray] = {}

    def timed(way: str) -> float:
        begin = clock()
        found[way] = ways[way]()
        return clock() - begin

    return in_turns({way: partial(timed, way) for way in ways}, rounds), found


def swept(part: str, most: float, last: float, options: argparse.Namespace) -> Part:
    """A sweep over all blocks and some last share of the steps."""
    work = Work(options)
    steps = evenly(work.steps - max(1, round(last * work.steps)), work.steps - 1, options.cells)
    n_blocks = len(work.dit.blocks)
    blocks = evenly(0, n_blocks - 1, options.cells)
    cells = [(block, step) for block in blocks for step in steps]
    chosen = evenly(0, len(cells) - 1, options.others)
    some = [cells[number] for number in chosen]
    ways = {
        SWEEP: lambda: work.sweep(steps, blocks),
        HOOKS: lambda: work.again(work.with_hooks, some),
        NNSIGHT: lambda: work.again(work.with_nnsight, some),
    }
    work.with_hooks(None), work.with_nnsight(None)
    times, found = measured(ways, options.rounds, options)
    found[SWEEP] = found[SWEEP].flatten()[chosen]
    for way in (HOOKS, NNSIGHT):
        if not np.array_equal(found[way], found[SWEEP]):
            raise SystemExit(f"{part}: other numbers by {way} than by {SWEEP}")
        times[way] = [seconds * (1 + len(cells)) / (1 + len(some)) for seconds in times[way]]
    # The steps behind an edited one and, in that, the blocks behind the edited one; the unedited run comes to each way.
    computed = sum(work.steps - 1 - step + (n_blocks - 1 - block) / n_blocks for block, step in cells)
    bound = (work.steps + computed) / (work.steps * (1 + len(cells)))
    figures = [Figure(way, times[way], "s") for way in ways]
    figures += [
        Figure(f"{SWEEP}, to {way}", ratios(times[SWEEP], times[way]), most=most) for way in (HOOKS, NNSIGHT)
    ]
    figures.append(Figure("least by counting the blocks that differ, of all blocks of all runs", [bound]))
    return Part(
        f"shapes, 1 prompt, {work.steps} steps: {len(cells)} runs, at steps {steps} and blocks {blocks}; "
        f"the numbers of all ways are equal, of the {len(some)} cells that all make",
        figures,
    )


def alone(options: argparse.Namespace) -> Part:
    """One edited run that shares nothing."""
    work = Work(options)
    cell = (0, 0)
    ways = {
        "ditscope": lambda: work.with_ditscope(cell),
        "plain hooks": lambda: work.with_hooks(cell),
        "nnsight by hand": lambda: work.with_nnsight(cell),
    }
    for run in ways.values():
        run()
    times, found = measured(ways, 5 * options.rounds, options)
    if not all(np.array_equal(image, found["plain hooks"]) for image in found.values()):
        raise SystemExit("alone: other images than by plain hooks")
    return Part(
        f"shapes, {work.steps} steps, one edit at the first block of the first step; all images are equal",
        [
            *(Figure(way, times[way], "s") for way in ways),
            Figure("ditscope, to plain hooks", ratios(times["ditscope"], times["plain hooks"]), most=1.05),
        ],
    )


def together(options: argparse.Namespace) -> Part:
    """Several edits in one forward pass."""
    work = Work(options)
    steps, blocks = (evenly(0, count - 1, options.cells) for count in (work.steps, len(work.dit.blocks)))
    ways = {
        f"{count} edits in a forward pass": partial(work.sweep, steps, blocks, edits_per_forward=count)
        for count in (1, 2, 4)
    }
    work.with_nnsight(None)
    times, found = measured(ways, options.rounds, options)
    one, *more = ways
    figures = [Figure(way, times[way], "s") for way in ways]
    for way in more:
        drift = np.abs(found[way] - found[one]) / np.abs(found[one])
        figures += [
            Figure(f"{way}, time to that of one by one", ratios(times[way], times[one])),
            Figure(f"{way}, largest relative difference of a cell's number", [float(drift.max())]),
        ]
    return Part(
        f"shapes, 1 prompt, {work.steps} steps: {len(steps) * len(blocks)} runs, several at once", figures
    )


def long(options: argparse.Namespace) -> Part:
    """The memory of a sweep of many runs."""
    work, resident = Work(options), []

    def watched(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
        resident.append(int((PROCESS / "statm").read_text().split()[1]) * resource.getpagesize())
        return ds.metrics.METRICS[METRIC](images, reference=reference)

    grid = ds.grid(
        lambda k: {"scale": ds.edits.scale(CHANNELS, k, blocks=-1, steps=-1)},
        k=np.linspace(0, 1, options.runs).tolist(),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sweep.zarr")
        made = ds.sweep(
            work.dit,
            work.prompt,
            0,
            grid,
            ds.metrics.Metric("watched", "change", watched, made_of=METRIC),
            path,
            images="thumbnails",
            num_inference_steps=2,
        )
        stored = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
        opened = ds.open_sweep(path)
        if not np.array_equal(opened["effect"], made["effect"]):
            raise SystemExit("long: other numbers in the store than in memory")
    begun = options.runs // 10
    figures = [
        Figure("resident after a tenth of the runs", [resident[begun] / 2**20], "MiB"),
        Figure("largest after that", [max(resident[begun:]) / 2**20], "MiB"),
        Figure("growth", [(max(resident[begun:]) - resident[begun]) / 2**20], "MiB", most=32),
        Figure("the store", [stored / 2**20], "MiB"),
    ]
    return Part(f"shapes, 1 prompt, 2 steps: {options.runs} runs that differ in the last block", figures)


PARTS = {
    "uniform": partial(swept, "uniform", 0.55, 1.0),
    "late": partial(swept, "late", 0.20, 0.25),
    "alone": alone,
    "together": together,
    "long": long,
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Part]:
    """Run the parts that are asked for."""
    parser = options_parser(__doc__ or "", PARTS, tuple(PARTS))
    parser.add_argument("--steps", type=int, default=20, help="of every image")
    parser.add_argument("--cells", type=int, default=20, help="blocks, and steps, that are taken of the grid")
    parser.add_argument("--others", type=int, default=8, help="cells that the other ways make")
    parser.add_argument("--runs", type=int, default=3000, help="of the long sweep")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.steps, options.cells, options.others, options.runs = 1, 2, 2, 2, 20
    return run_parts(PARTS, options)


if __name__ == "__main__":
    main()
