"""Recording, beside its limit and beside what one would write by hand.

The limit of a recording is the larger of bare generation and of writing its bytes to one file, sequentially, synced;
both are measured in the same run as the recording, in turns. Ratios are of one round; their median is given, with the
least and the most. Parts:

* ``shapes-batch-4``, ``shapes-batch-1``: the embedded pipeline, 8 prompts, 10 steps,
* ``flux-float32``, ``flux-bfloat16``: a narrow FLUX.1 of random weights, whose hidden states are about 1 GB in all,
* ``flux-full-size``: FLUX.1-dev at 1024 x 1024, random weights; only when it is asked for, with ``--device cuda``,
* ``flux-full-length``: the same in 28 steps, and what keeps no tensors; likewise,
* ``flux-copies``: what a GPU copies to the host of the same, and whether it arrives whole; likewise,
* ``writer``: the writer alone, fed with hidden states of FLUX.1's size as fast as memory gives them, on disk and tmpfs,
* ``call``: what one ``generate`` costs beside the images: opening the store, looking at the call,
* ``growth``: time a sample and memory, from the first samples to the thousandth.

Of ways that do not sync what they write, seconds are given as one would measure them, and until all of it is on disk.
Added memory is the largest resident set of a process of its own, above that of generating a batch there before; on a
GPU, where models are large, that of the first round above the bare one's, in one process.

    python benchmarks/record.py [--only PART ...] [--rounds 3] [--folder DIR] [--json benchmarks/results/record.json]
    python benchmarks/record.py --quick       # a try in seconds, whose figures mean nothing
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import ditscope as ds
from device_to_host import copy_rates, torn_tensors
from filled_stores import Hidden, fill
from measuring import resident, say, size_on_disk, spread, take
from random_models import MODELS, Model, open_random
from raw_files import sync, write_nbytes, write_numpy, write_raw
from side_by_side import Figure, Part, folder_in, in_child, in_turns, options_parser, ratios, run_parts
from ways_to_record import BARE, BY_HAND, CHANNELS, FULL, STATISTICS, STATISTICS_BY_HAND, WAYS, Task

RAW, NUMPY = "raw write, synced", "numpy.save, synced"
ON_GPU = ("flux-full-size", "flux-full-length", "flux-copies")
MEMORY = Path("/dev/shm")
MIB = 2**20
MANY = Hidden(samples=1000, steps=1, blocks=2, side=4, width=32, different=16)


@dataclass(frozen=True)
class Work:
    """What is generated.

    Attributes:
        words: for the reader.
        open: opens the model, given a folder and a device.
        prompts: how many.
        batch_size: images generated together.
        call: arguments of the pipeline.
        ways: in which it is recorded.
    """

    words: str
    open: Callable[[Path, str], ds.DiT]
    prompts: int
    batch_size: int
    call: Mapping[str, Any]
    ways: tuple[str, ...] = tuple(WAYS)

    def task(self, folder: Path, device: str) -> Task:
        """It, opened, and warm."""
        samples = [(prompt, 0) for prompt in ds.shapes.prompts(self.prompts)]
        task = Task(self.open(folder, device), samples, self.call, self.batch_size)
        task.dit.diffusers_pipeline.set_progress_bar_config(disable=True)
        task.warm_up()
        return task


def narrow_flux(heads: int) -> Model:
    """FLUX.1-dev with 2 double and 6 single blocks, 64 channels a head, and a thin autoencoder."""
    model = MODELS["FLUX.1-dev"]
    sizes = {"num_layers": 2, "num_single_layers": 6, "num_attention_heads": heads, "attention_head_dim": 64}
    library_class, config = model.autoencoder
    return replace(
        model,
        transformer={**model.transformer, **sizes, "axes_dims_rope": (8, 28, 28)},
        autoencoder=(library_class, {**config, "block_out_channels": (8,) * 4, "norm_num_groups": 4}),
    )


def shapes(prompts: int, batch_size: int, quick: bool) -> Work:
    """The embedded pipeline."""
    steps = 1 if quick else 10
    return Work(
        f"shapes, {prompts} prompts, {steps} steps, batch {batch_size}",
        lambda folder, device: ds.load("shapes", device=device),
        prompts,
        batch_size,
        {"num_inference_steps": steps},
    )


def flux(dtype: str, prompts: int, quick: bool) -> Work:
    """A narrow FLUX.1 of random weights."""
    heads, side, steps = (1, 64, 1) if quick else (4, 512, 12)
    prompts = 1 if quick else prompts
    return Work(
        f"narrow FLUX.1 of random weights, {64 * heads} channels, {dtype}, {prompts} prompts, {steps} steps",
        lambda folder, device: open_random(
            narrow_flux(heads), folder, device=device, dtype=getattr(torch, dtype)
        ),
        prompts,
        1,
        {"height": side, "width": side, "num_inference_steps": steps, "max_sequence_length": 64},
    )


def full_size(steps: int, ways: tuple[str, ...], quick: bool) -> Work:
    """FLUX.1-dev."""
    if quick:
        return replace(flux("bfloat16", 1, quick), ways=ways)
    return Work(
        f"FLUX.1-dev of random weights, 1024 x 1024, 1 prompt, {steps} steps",
        lambda folder, device: open_random(MODELS["FLUX.1-dev"], folder, device=device),
        1,
        1,
        {"height": 1024, "width": 1024, "num_inference_steps": steps},
        ways,
    )


NO_TENSORS = (STATISTICS, CHANNELS)
WORKS: dict[str, Callable[[bool], Work]] = {
    "shapes-batch-4": partial(shapes, 8, 4),
    "shapes-batch-1": partial(shapes, 8, 1),
    "flux-float32": partial(flux, "float32", 8),
    "flux-bfloat16": partial(flux, "bfloat16", 4),
    "flux-full-size": partial(full_size, 4, tuple(WAYS)),
    "flux-full-length": partial(full_size, 28, (BARE, *NO_TENSORS)),
}


def recorded(name: str, options: argparse.Namespace) -> Part:
    """Every way to record a work, beside its limit."""
    work = WORKS[name](options.quick)
    ways = [way for way in work.ways if not (options.alone and way in (*BY_HAND, STATISTICS_BY_HAND))]
    by_hand = [way for way in BY_HAND if way in ways]
    synced: dict[str, list[float]] = {way: [] for way in ways}
    on_disk: dict[str, int] = {}
    peaks: dict[str, int | None] = {}
    on_device: dict[str, int | None] = {}
    spent: dict[str, Mapping[str, float]] = {}
    with folder_in(options.folder) as folder:
        task, target = work.task(folder, options.device), folder / "recording"

        def run(way: str) -> float:
            taken = take(lambda: WAYS[way].run(task, target), options.device)
            synced[way].append(taken.seconds + sync(target))
            on_disk[way], on_device[way] = size_on_disk(target), taken.device_bytes
            peaks.setdefault(way, taken.host_bytes)
            spent[way] = taken.result or {}
            remove(target)
            return taken.seconds

        def run_raw() -> float:
            seconds = write_nbytes(target, task.hidden_bytes)
            remove(target)
            return seconds

        runs = {way: partial(run, way) for way in ways}
        if FULL in ways:
            run_raw()  # not counted: the first file of a folder is slow
            runs = {RAW: run_raw, **runs}
        times = in_turns(runs, options.rounds)
    if options.quick or on_device[BARE] is not None:
        added = {way: above(most, peaks[BARE]) for way, most in peaks.items()}
    else:
        added = {way: None if options.alone else child(options, name, way) for way in ways}
    memory_is_known = None not in added.values()
    figures = [
        Figure("hidden states", [task.hidden_bytes / 1e6], "MB"),
        Figure(BARE, times[BARE], "s"),
    ]
    for way in NO_TENSORS:
        figures.append(Figure(f"{way}, to bare", ratios(times[way], times[BARE]), most=1.05))
    if STATISTICS_BY_HAND in ways:
        words = f"{STATISTICS}, time to that of {STATISTICS_BY_HAND}"
        figures.append(Figure(words, ratios(times[STATISTICS], synced[STATISTICS_BY_HAND]), most=1.05))
    if FULL in ways:
        limit = [max(both) for both in zip(times[BARE], times[RAW], strict=True)]
        figures.append(Figure(RAW, rates(task.hidden_bytes, times[RAW]), "MB/s"))
        figures.append(Figure(f"{FULL}, to the limit", ratios(times[FULL], limit), most=1.10))
        figures += shares(spent[FULL], times[FULL][-1])
    for way in by_hand:
        figures.append(Figure(f"{FULL}, time to that of {way}", ratios(times[FULL], synced[way]), most=1.05))
    if memory_is_known and FULL in ways:
        figures.append(Figure(f"{FULL}, added memory", [added[FULL] / MIB], "MiB", most=512))
        for way in by_hand:
            more = (added[FULL] - added[way]) / MIB
            figures.append(Figure(f"{FULL}, added memory over that of {way}", [more], "MiB", most=0))
    table = [
        {
            "way": way,
            "s": spread(times[way]),
            "s until on disk": spread(synced[way]),
            "to bare": spread(ratios(times[way], times[BARE])),
            "added MiB": f"{added[way] / MIB:.0f}" if memory_is_known else "",
            "peak device GiB": "" if (most := on_device[way]) is None else f"{most / 2**30:.2f}",
            "MB on disk": f"{on_disk[way] / 1e6:,.1f}",
            "gives up": WAYS[way].gives_up,
        }
        for way in ways
    ]
    return Part(work.words, figures, table)


def writer(options: argparse.Namespace) -> Part:
    """The writer alone."""
    hidden = Hidden(1, 1, 2, 8, 64) if options.quick else Hidden(1, 4, 10, 64, 3072)
    side = hidden.side**2
    part = Part(f"the writer alone: {hidden.count} hidden states [{side}, {hidden.width}] of {hidden.dtype}")
    part.figures.append(Figure("hidden states", [hidden.nbytes / 1e6], "MB"))
    places = {"disk": options.folder}
    if os.access(MEMORY, os.W_OK):
        places["tmpfs"] = str(MEMORY)
    for place, parent in places.items():
        with folder_in(parent) as folder:
            part.figures += written(hidden, folder, place, options.rounds)
    return part


def written(hidden: Hidden, folder: Path, place: str, rounds: int) -> list[Figure]:
    """The writer beside what the place can do."""
    arrays, target, opening = hidden.in_order(), folder / "written", []
    spent: dict[bool, Mapping[str, float]] = {}

    def store(stats: bool) -> float:
        filled = fill(target, hidden, stats=stats)
        opening.append(filled.opening * 1e3)
        spent[stats] = filled.spent
        return filled.writing

    def and_removed(write: Callable[[], float]) -> float:
        seconds = write()
        remove(target)
        return seconds

    with_statistics, without = "CacheWriter, with statistics", "CacheWriter, tensors alone"
    ways = {
        RAW: lambda: write_raw(target, arrays),
        NUMPY: lambda: write_numpy(target, arrays),
        with_statistics: lambda: store(True),
        without: lambda: store(False),
    }
    and_removed(ways[RAW])  # not counted: the first file of a folder is slow
    times = in_turns({f"{place}, {way}": partial(and_removed, write) for way, write in ways.items()}, rounds)
    seconds = {way: times[f"{place}, {way}"] for way in ways}
    figures = [Figure(f"{place}: {way}", rates(hidden.nbytes, seconds[way]), "MB/s") for way in ways]
    for way in (with_statistics, without):
        figures.append(
            Figure(f"{place}: {way}, of the raw rate", ratios(seconds[RAW], seconds[way]), least=0.8)
        )
    figures.append(Figure(f"{place}: making the store", opening, "ms"))
    return figures + shares(spent[True], seconds[with_statistics][-1])


def copies(options: argparse.Namespace) -> Part:
    """What a GPU copies to the host, and how fast it could."""
    work = WORKS["flux-full-size"](options.quick)
    with folder_in(options.folder) as folder:
        task = work.task(folder, options.device)
        torn, compared = torn_tensors(task, folder / "recording")
    figures = [
        Figure("hidden states that arrive", [compared]),
        Figure("of which with another checksum than on the device", [torn], most=0),
    ]
    for words, speeds in copy_rates(options.device, options.rounds).items():
        figures.append(Figure(f"device to host, {words} memory", speeds, "GB/s"))
    return Part(f"copies to the host: {work.words}", figures)


def generate_call(options: argparse.Namespace) -> Part:
    """What a call of generate costs beside the images."""
    work = shapes(1, 1, options.quick)
    with folder_in(options.folder) as folder:
        task, target = work.task(folder, options.device), folder / "recording"

        def timed(run: Callable[[], object]) -> float:
            begin = time.perf_counter()
            run()
            return time.perf_counter() - begin

        def anew() -> float:
            remove(target)
            return timed(lambda: WAYS[FULL].run(task, target))

        anew()
        ways = {"bare": lambda: timed(lambda: WAYS[BARE].run(task, target)), "new": anew}
        ways["complete"] = lambda: timed(lambda: WAYS[FULL].run(task, target))
        times = in_turns(ways, options.rounds)
    beside = [new - bare for new, bare in zip(times["new"], times["bare"], strict=True)]
    return Part(
        f"one call of generate: {work.words}",
        [
            Figure("the bare image", times["bare"], "s"),
            Figure("into a new store, beside the bare image", beside, "s"),
            Figure("the same, to the bare image", ratios(beside, times["bare"]), most=0.25),
            Figure("into a complete store, nothing to do", times["complete"], "s"),
            Figure("the same, to the bare image", ratios(times["complete"], times["bare"]), most=0.1),
        ],
    )


def growth(options: argparse.Namespace) -> Part:
    """Time and memory of the first and of the last of many samples."""
    hidden = MANY if not options.quick else replace(MANY, samples=20)
    found = filled_at_length(hidden, options) if options.quick else child(options, "growth")
    at, held, window = found["committed"], found["resident"], hidden.samples // 10
    first, last = at[window + 9] - at[9], at[-1] - at[-1 - window]
    return Part(
        f"growth: {hidden.samples} tiny samples of {hidden.nbytes // hidden.samples} bytes, the writer alone",
        [
            Figure(f"time a sample, of the last {window} to that after the 10th", [last / first], most=1.25),
            Figure(
                "resident set after the last, over that after the 10th",
                [(held[-1] - held[9]) / MIB],
                "MiB",
                most=32,
            ),
        ],
        [
            {
                "samples": str(number),
                "ms a sample": f"{at[number - 1] / number * 1e3:.2f}",
                "resident MiB": f"{held[number - 1] / MIB:.1f}",
            }
            for number in (10, 100, 1000)
            if number <= hidden.samples
        ],
    )


def filled_at_length(hidden: Hidden, options: argparse.Namespace) -> dict[str, Any]:
    """When each sample was committed, and what was resident then."""
    held: list[int] = []
    with folder_in(options.folder) as folder:
        filled = fill(folder / "many", hidden, after=lambda: held.append(resident()))
    return {"committed": filled.committed, "resident": held}


def shares(spent: Mapping[str, float], seconds: float) -> list[Figure]:
    """Where the time of a run went; threads work at once, so shares may add up to more than one."""
    return [Figure(f"share of {name}", [part / seconds]) for name, part in spent.items()]


def remove(path: Path) -> None:
    """A file, or a folder, or nothing."""
    path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


def rates(nbytes: int, seconds: Sequence[float]) -> list[float]:
    """MB/s."""
    return [nbytes / 1e6 / each for each in seconds]


def child(options: argparse.Namespace, *asked: str) -> Any:
    """What a process of its own finds of what is asked."""
    folder = ["--folder", options.folder] if options.folder else []
    say(f"in a process of its own: {', '.join(asked)}")
    return in_child(__file__, "--device", options.device, *folder, "--child", *asked)


def answer(options: argparse.Namespace) -> Any:
    """What this process, a child, was asked for: what growth is made of, or the memory that a way adds."""
    part, *way = options.child
    if not way:
        return filled_at_length(MANY, options)
    with folder_in(options.folder) as folder:
        return added_memory(
            WORKS[part](options.quick).task(folder, options.device), *way, folder, options.device
        )


def added_memory(task: Task, way: str, folder: Path, device: str) -> int | None:
    """Bytes of the largest resident set of a way above that of generating one batch; None where no system says."""
    batch = replace(task, samples=task.samples[: task.batch_size])
    bare = take(lambda: WAYS[BARE].run(batch, folder), device).host_bytes
    return above(take(lambda: WAYS[way].run(task, folder / "recording"), device).host_bytes, bare)


def above(most: int | None, bare: int | None) -> int | None:
    """The difference, where both are known."""
    return None if most is None or bare is None else most - bare


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    **{name: partial(recorded, name) for name in WORKS},
    "writer": writer,
    "call": generate_call,
    "growth": growth,
    "flux-copies": copies,
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Part]:
    """Run the parts that are asked for; those that the GPU is needed for only by name."""
    parser = options_parser(__doc__, PARTS, [name for name in PARTS if name not in ON_GPU])
    parser.add_argument(
        "--alone", action="store_true", help="leave out what is written by hand, and memory: some 80 s a part"
    )
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(answer(options)))
        return {}
    return run_parts(PARTS, options)


if __name__ == "__main__":
    main()
