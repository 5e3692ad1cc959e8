"""What the tiny pipelines are called with, and what is known of each beforehand; nothing here uses ditscope."""

from __future__ import annotations

import plain_hooks
import pytest
import tiny
import torch

NAMES = list(tiny.TINY)
PROMPTS, SEEDS = tiny.PROMPTS, [3]
N_STEPS = 2

ONE_OF_EACH_LAYOUT = {
    "one visit a step": "flux2-klein",
    "a visit for each branch": "flux",
    "a doubled batch": "sd3",
}
"""Layout of guidance -> a pipeline that has it."""

ONE_OF_EACH_FAMILY = list({made.family: name for name, made in tiny.TINY.items()}.values())

WAYS = {
    "float32, not square": (torch.float32, False),
    "bfloat16, square": (torch.bfloat16, True),
}
IN_BOTH_WAYS = pytest.mark.parametrize(("dtype", "square"), WAYS.values(), ids=WAYS)
"""Both dtypes and both shapes, each once: no fault is known that shows in one pair of them alone."""

IN_BOTH = (*ONE_OF_EACH_LAYOUT.values(), "sana")
IN_A_WAY = pytest.mark.parametrize(
    ("name", "dtype", "square"),
    [
        pytest.param(name, *way, id=f"{name}-{words}")
        for number, name in enumerate(NAMES)
        for other, (words, way) in enumerate(WAYS.items())
        if name in IN_BOTH or other == number % 2
    ],
)
"""Every pipeline; one of each layout, and one without text, in both ways: for what is no family's own code."""


def size(name: str, square: bool = False) -> dict[str, int]:
    """Not square unless asked: a swapped axis shows. SANA wants multiples of 32, others of 16."""
    edge = {"sana": 32, "cogview4": 16, "lumina2": 32}.get(name, 8)
    return {"height": 2 * edge, "width": (2 if square else 3) * edge}


def guided(name: str) -> dict[str, object]:
    """Arguments that switch true guidance on, where there is such a thing."""
    if name in ("flux", "qwen-image"):
        return {"true_cfg_scale": 3.0, "negative_prompt": "plain"}
    return {"guidance_scale": 3.0}


def call(name: str, square: bool = False) -> dict[str, object]:
    """A short guided call."""
    return {"num_inference_steps": N_STEPS, **size(name, square), **guided(name)}


def batch(name: str) -> list[str]:
    """Two prompts for one batch: equally long where a family wants them so."""
    return [
        PROMPTS[0],
        "a large white star at the left on a plain red circle" if name == "lumina2" else PROMPTS[1],
    ]


def branches(name: str) -> tuple[str, ...]:
    both = name in (*plain_hooks.DOUBLED, *plain_hooks.TWICE)
    return ("cond", "uncond") if both else ("cond",)


def streams(name: str) -> tuple[str, ...]:
    return ("image",) if name in plain_hooks.IMAGE_ONLY else ("image", "text")


def returned(name: str, n_blocks: int) -> range:
    """Blocks that return every stream: SD3's last one returns no text."""
    return range(n_blocks - name.startswith("sd3"))
