"""A run in which everything is read and one thing is edited: traced, and under plain hooks on another pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import plain_modules
import tiny
import torch
from diffusers import DiffusionPipeline
from family_calls import guided, returned, size, streams

from ditscope.tracing.run import run_traced
from ditscope.vocabulary import SITES, passing_order

PROMPT, SEED, CHANNELS = tiny.PROMPTS[0], 3, [3, 7]

Read = dict[tuple[int, int, str, str], torch.Tensor]
"""(visit, block, site, stream) -> what was read there."""

Plain = tuple[np.ndarray, plain_hooks.Seen, plain_modules.Listening]
"""Images, and what plain hooks see."""


def call(name: str, n_steps: int) -> dict[str, Any]:
    return {"num_inference_steps": n_steps, **size(name), **guided(name)}


def bare(folder: Any, **changed: Any) -> Any:
    """The pipeline of diffusers alone, with a transformer and a scheduler that a test may change."""
    shared = {
        name: part
        for name, part in plain_hooks.opened(folder).components.items()
        if name not in ("transformer", "scheduler")
    }
    return DiffusionPipeline.from_pretrained(folder, **{**shared, **changed})


def attention(name: str) -> tuple[str, int | None, tuple[str, ...]]:
    """The module whose output is edited, which item of it, and the streams that it carries."""
    places = plain_modules.modules_of(name)
    module, item = place = places["attn_output", "image"]
    return module, item, tuple(stream for stream in streams(name) if places["attn_output", stream] == place)


def traced(dit, name: str, n_steps: int) -> tuple[np.ndarray, Read]:
    """Images, and all that can be read, in a run in which channels of the first block's attention are zeroed."""
    found: Read = {}

    def at_visit(visit) -> None:
        for block in dit.blocks:
            for site, stream in passing_order(SITES, ("image", "text")):
                if stream not in block.layout.streams(site):
                    continue
                value = block.read(site, stream).clone()
                found[visit.index, block.index, site, stream] = value
                if not block.index and site == "attn_output" and stream in attention(name)[2]:
                    value = value.clone()
                    value[:, :, CHANNELS] = 0
                    block.write(site, stream, value)

    return run_traced(dit, [(PROMPT, SEED)], at_visit, **call(name, n_steps)).images, found


def plainly(pipeline: Any, name: str, n_steps: int) -> Plain:
    """The same run under plain hooks."""
    module, item, _ = attention(name)

    def zero(_module: Any, _args: Any, output: Any) -> Any:
        value = (output if item is None else output[item]).clone()
        value[:, :, CHANNELS] = 0
        return value if item is None else (*output[:item], value, *output[item + 1 :])

    with plain_modules.listening(pipeline, name) as inside:
        handle = plain_hooks.blocks_of(pipeline)[0].get_submodule(module).register_forward_hook(zero)
        try:
            seen = plain_hooks.run(pipeline, name, [PROMPT], [SEED], **call(name, n_steps))
        finally:
            handle.remove()
    return seen.images, seen, inside


def require_what_plain_hooks_see(dit, plain: Plain, name: str, n_steps: int = 1) -> Read:
    """Require that a trace reads what plain hooks saw on another pipeline, bit for bit; return what it reads."""
    images, found = traced(dit, name, n_steps)
    expected_images, seen, inside = plain
    assert np.array_equal(images, expected_images)
    compared = 0
    for visit in range(len(seen.text_tokens)):
        for block in dit.blocks[: returned(name, len(dit.blocks)).stop]:
            expected = {
                ("block_output", stream): seen.hidden[visit, block.index, stream] for stream in streams(name)
            }
            if block.kind != "single":
                expected |= {
                    (site, stream): inside.output(seen, visit, block.index, site, stream)
                    for site, stream in plain_modules.modules_of(name)
                }
            for site in plain_modules.sites_of(name, block.kind):
                for stream in streams(name):
                    part = inside.part(visit, block.index, block.kind, site, stream, dit.width)
                    expected[site, stream] = part[:, None]
            for (site, stream), value in expected.items():
                read = found[visit, block.index, site, stream]
                assert read.equal(value), (visit, block.name, site, stream)
                compared += 1
    assert compared > len(dit.blocks)
    return found
