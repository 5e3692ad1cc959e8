"""What guidance by a degraded branch costs: the extra time of a run, beside the share of blocks that are run again.

The embedded pipeline, without classifier-free guidance, up to the latents, in turns: bare, the degraded branch from
the first block's input on (the whole network again), and from behind blocks along the network.

    python benchmarks/guidance.py [--rounds 5] [--device cpu] [--json benchmarks/results/guidance.json]
    python benchmarks/guidance.py --quick       # a try in seconds, whose figures mean nothing
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ditscope as ds
from ditscope.guidance import Guidance, GuidedVisit
from ditscope.tracing.run import run_traced
from side_by_side import Figure, Part, in_turns, options_parser, run_parts

CHANNELS, MORE = [3, 77], 0.1
"""What is disrupted, and how much more of a run than its share of blocks it may take."""


def partial_forward(options: argparse.Namespace) -> Part:
    """The extra cost by block."""
    dit = ds.load("shapes", device_map=None if options.device == "cpu" else options.device)
    n_blocks, n_images, n_steps = len(dit.blocks), 1 if options.quick else 8, 1 if options.quick else 4
    samples = [(prompt, 0) for prompt in ds.shapes.prompts(n_images)]

    def seconds(guidance: Guidance | None) -> float:
        visitor = None if guidance is None else GuidedVisit(dit, guidance, range(n_steps))
        begin = time.perf_counter()
        call: dict[str, Any] = {
            "num_inference_steps": n_steps,
            "true_cfg_scale": 1.0,
            "output_type": "latent",
        }
        run_traced(dit, samples, visitor, **call)
        return time.perf_counter() - begin

    whole = ds.guidance.from_edits(ds.edits.zero(CHANNELS, blocks=0, site="block_input"), 2.0)
    behind = [n_blocks // 5, n_blocks // 2, 4 * n_blocks // 5, n_blocks]
    ways: dict[str, Callable[[], float]] = {"bare": partial(seconds, None), "whole": partial(seconds, whole)}
    for number in behind:
        ways[str(number)] = partial(seconds, ds.guidance.detail(CHANNELS, 2.0, number - 1))
    seconds(whole)  # what is done once
    times = in_turns(ways, options.rounds)

    def extra(way: str) -> list[float]:
        return [taken / bare - 1 for taken, bare in zip(times[way], times["bare"], strict=True)]

    figures = [
        Figure("bare", times["bare"], "s"),
        Figure("extra cost, the whole network again", extra("whole"), "of the run"),
    ]
    for number in behind:
        share = (n_blocks - number) / n_blocks
        words = f"extra cost, block {number} of {n_blocks} disrupted, {share:.0%} of the blocks again"
        figures.append(Figure(words, extra(str(number)), "of the run", most=share + MORE))
    return Part(f"{n_images} images, {n_steps} steps, no guidance by a prompt", figures)


PARTS = {"partial": partial_forward}


def main(arguments: Sequence[str] | None = None) -> dict[str, Part]:
    """Run the parts that are asked for."""
    return run_parts(PARTS, options_parser(__doc__, PARTS, list(PARTS)).parse_args(arguments))


if __name__ == "__main__":
    main()
