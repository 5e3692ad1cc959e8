"""A published configuration at full size, with random weights: checked, then timed with and without recording.

The pipeline is built on the spot (see ``random_models.py``); nothing is downloaded, and nothing is said of
what a trained model does. After ``check()``, which warms everything up, three runs of the same sample take turns
in one process:

* bare: the diffusers pipeline, outside of any trace,
* recorded: ``ds.record`` of the image stream after every block, hidden states and statistics,
* statistics: ``ds.record`` of the statistics alone.

The image of every recording is compared with the bare one.

    python benchmarks/full_size.py --model FLUX.1-dev --device cuda [--table benchmarks/full_size.md]
    python benchmarks/full_size.py --model FLUX.1-dev --storage fp8              # in little memory
    python benchmarks/full_size.py --model SANA-1.6B --layers 2 --height 256 --width 256   # a quick try
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import ditscope as ds
import result_table
from ditscope.cache.reader import Cache
from ditscope.checking.report import CheckReport
from ditscope.recording.record import record  # here, so that no run is charged for the import
from ditscope.tracing.samples import call_of
from measuring import Taken, device_name, say, size_on_disk, spread, take
from random_models import MODELS, Model, open_random

if TYPE_CHECKING:
    from ditscope.checking.report import CheckReport

PROMPT = "a small red circle at the left on a plain blue background"
SEED = 0
STORAGE = {"fp8": torch.float8_e4m3fn}
RECORDED = {"recorded": True, "statistics": False}
"""Name of a recording -> whether hidden states are kept."""

SETTING = ("model", "blocks", "weights", "device", "image", "steps")
HEAD = """# Full-size models, with and without recording

Made by `python benchmarks/full_size.py --model NAME --device DEVICE --table benchmarks/full_size.md`; a run
replaces the rows of its own setting. Weights are random, so no row says anything about a trained model.
Transformer and autoencoder have the published widths and numbers of blocks. Text encoders are small stand-ins
with the real output width and length: they are not what is measured.

* build: making the weights, and opening the pipeline
* check: all of `dit.check()`
* bare: the diffusers pipeline, outside of any trace
* recorded: the image stream after every block, in full and as statistics
* statistics: the statistics alone

A visit is one call of the transformer with all that is read inside it. Seconds of an image are those of the whole
call, from the prompt to the pixels; of a recording also the look at the call that comes before it (about one more
visit, once a recording, however many images it has) and the writing, synced. Both are medians, with the least and
the most; ratios are to bare, in the same process, in turns. Peak device memory is what torch had allocated. Peak
host memory is the resident set of the process, with the weights where the device is a CPU.

"""


@dataclass
class Result:
    """What a model takes.

    Attributes:
        report: of the check.
        build: what it took to build and open the model.
        check: what the check took.
        runs: ``bare`` or name of a recording -> what each of its runs took.
        store_bytes: name of a recording -> bytes of its store on disk.
        shown: name of a recording -> what its store showed.
    """

    report: CheckReport
    build: Taken
    check: Taken
    runs: dict[str, list[Taken]] = field(default_factory=dict)
    store_bytes: dict[str, int] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)


def measure(model: Model, home: Path, options: argparse.Namespace) -> tuple[ds.DiT, Result]:
    """Build a model in a folder, check it, then run it with and without recording.

    Args:
        model: its configuration.
        home: where the pipeline's index is, and where the stores of the last round are left.
        options: the command's.
    """
    say(f"build {home.name}")
    build = take(lambda: open_as_asked(model, home, options), options.device)
    dit, build.result = build.result, None
    say(repr(dit))
    call = {"height": options.height, "width": options.width, "num_inference_steps": options.steps}
    transformer = dit.diffusers_pipeline.transformer
    check = take(lambda: dit.check(PROMPT, **call), options.device, transformer)
    result = Result(check.result, build, check)
    say(str(result.report))
    for turn in range(options.rounds):
        say(f"round {turn + 1} of {options.rounds}: bare")
        bare = take(lambda: bare_image(dit, call), options.device, transformer)
        result.runs.setdefault("bare", []).append(bare)
        for name, tensors in RECORDED.items():
            say(f"round {turn + 1} of {options.rounds}: {name}")
            store = home / f"{name}.zarr"
            shutil.rmtree(store, ignore_errors=True)  # of the round before
            taken = take(lambda s=store, t=tensors: recorded(dit, s, call, t), options.device, transformer)
            taken.visits = taken.visits[-dit.run_state.n_visits :]  # without the look at the call
            result.runs.setdefault(name, []).append(taken)
            result.store_bytes[name] = size_on_disk(store)
            result.shown[name] = shown_by(taken.result, bare.result)
            taken.result = None
    return dit, result


def open_as_asked(model: Model, home: Path, options: argparse.Namespace) -> ds.DiT:
    """The model in the asked types, on the asked device."""
    return open_random(
        model,
        home,
        device=options.device,
        dtype=getattr(torch, options.dtype),
        storage=STORAGE.get(options.storage),
        layers=options.layers,
    )


def bare_image(dit: ds.DiT, call: Mapping[str, Any]) -> np.ndarray:
    """The bare pipeline's image, uint8 ``[row, y, x, rgb]``."""
    arguments = call_of(dit, [(PROMPT, SEED)], call)
    images = dit.diffusers_pipeline(**arguments, output_type="np").images
    return np.round(np.nan_to_num(images) * 255.0).astype(np.uint8)


def recorded(dit: ds.DiT, store: Path, call: Mapping[str, Any], tensors: bool) -> Cache:
    """A recording of the image stream after every block."""
    with record(dit, store, streams=["image"], sites=["block_output"], tensors=tensors) as recording:
        return recording.generate(PROMPT, SEED, **call)


def shown_by(cache: Cache, bare: np.ndarray) -> str:
    """Whether the recorded run made the bare image, and whether all hidden states were numbers."""
    same = np.array_equal(cache.images.values, bare)
    nonfinite = int(cache.stats("image", "block_output")["nonfinite"].sum())
    image = "same image" if same else "ANOTHER IMAGE"
    return f"{image}, {nonfinite or 'no'} values not finite"


def rows(result: Result, setting: Mapping[str, str]) -> list[dict[str, str]]:
    """Table rows: build, check, and the runs with and without recording."""
    holding = sum(finding.holds for finding in result.report.findings)
    shown = {"check": f"{holding} of {len(result.report.findings)} claims hold", **result.shown}
    bare_visits, bare_images = visits(result.runs["bare"]), images(result.runs["bare"])
    table = []
    for name, runs in {"build": [result.build], "check": [result.check], **result.runs}.items():
        turns = name in result.runs
        cells = {
            "run": name,
            "s per visit": spread(visits(runs)) if turns else "",
            "ratio of visits": ratio(visits(runs), bare_visits) if turns else "",
            "seconds": spread(images(runs)),
            "ratio of images": ratio(images(runs), bare_images) if turns else "",
            "peak device GiB": peak(run.device_bytes for run in runs),
            "peak host GiB": peak(run.host_bytes for run in runs),
            "store bytes": f"{result.store_bytes[name]:,}" if name in result.store_bytes else "",
            "found": shown.get(name, ""),
        }
        table.append({**setting, **cells})
    return table


def visits(runs: Sequence[Taken]) -> list[float]:
    """Seconds of all visits of some runs."""
    return [visit for run in runs for visit in run.visits]


def images(runs: Sequence[Taken]) -> list[float]:
    """Seconds of every run."""
    return [run.seconds for run in runs]


def ratio(times: Sequence[float], bare: Sequence[float]) -> str:
    """Of medians."""
    return f"{statistics.median(times) / statistics.median(bare):.2f}"


def peak(peaks: Iterable[int | None]) -> str:
    """The largest in GiB; empty where none is known."""
    known = [nbytes for nbytes in peaks if nbytes is not None]
    return f"{max(known) / 2**30:.2f}" if known else ""


def setting_of(dit: ds.DiT, name: str, options: argparse.Namespace) -> dict[str, str]:
    """What was measured, and on what: the columns that all rows of a run share."""
    kinds = [layout.kind for layout in dit.family.block_lists]
    counts = [f"{sum(block.kind == kind for block in dit.blocks)} {kind}" for kind in kinds]
    weights = sum(p.numel() * p.element_size() for p in dit.diffusers_pipeline.transformer.parameters())
    stored = f" kept as {options.storage}" if options.storage else ""
    libraries = ", ".join(f"{library} {version(library)}" for library in ("torch", "diffusers", "nnsight"))
    return {
        "model": name,
        "blocks": " + ".join(counts) + (" (cut)" if options.layers is not None else ""),
        "weights": f"{options.dtype}{stored}, {weights / 2**30:.2f} GiB",
        "device": device_name(options.device),
        "libraries": libraries,
        "image": f"{options.height} x {options.width}",
        "steps": str(options.steps),
    }


def run(model: Model, name: str, options: argparse.Namespace) -> tuple[Result, list[dict[str, str]]]:
    """Measure a model in a temporary folder, and make its table rows."""
    folder = Path(tempfile.mkdtemp(prefix="ditscope-full-size-", dir=options.folder))
    try:
        home = folder / name
        home.mkdir()
        dit, result = measure(model, home, options)
        return result, rows(result, setting_of(dit, name, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="FLUX.1-dev")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--storage", choices=STORAGE, help="type of the transformer's weights between uses")
    parser.add_argument("--layers", type=int, help="keep so many blocks of each list")
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="images with and without each recording")
    parser.add_argument("--folder", help="where stores are written; the system's temporary folder by default")
    parser.add_argument("--table", type=Path, help="Markdown file whose rows are renewed")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    result, table = run(MODELS[options.model], options.model, options)
    print(result_table.line(list(table[0])))
    for row in table:
        print(result_table.line(list(row.values())))
    if options.table is not None:
        result_table.renew(options.table, table, SETTING, HEAD)
    if not result.report.ok:
        sys.exit(1)


if __name__ == "__main__":
    main()
