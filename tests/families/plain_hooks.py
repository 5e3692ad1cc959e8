"""What plain hooks see on a tiny pipeline, split by what diffusers' code says of each family.

Nothing here uses ditscope. The table is written from the transformers' ``forward`` methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from diffusers import DiffusionPipeline

DOUBLED = ("sana", "sd3", "sd3.5-medium", "pixart-sigma", "auraflow")
TWICE = ("flux", "flux2-klein-base", "qwen-image", "chroma", "cogview4", "lumina2")
IMAGE_ONLY = ("sana", "pixart-sigma")
IMAGE_FIRST = ("cogview4",)
REGISTERS = {"auraflow": 8}
"""Learned tokens that go before the text."""

Edit = Callable[[int, torch.Tensor], torch.Tensor]
"""A new image stream from the visit's number and the old one."""


@dataclass
class Seen:
    """Images ``[row, y, x, rgb]`` uint8, and clones by (visit, block, stream) of the blocks' outputs."""

    images: np.ndarray = field(default_factory=lambda: np.empty(0))
    hidden: dict[tuple[int, int, str], torch.Tensor] = field(default_factory=dict)
    text_tokens: list[int] = field(default_factory=list)
    latents: list[torch.Tensor] = field(default_factory=list)


def blocks_of(pipeline: Any) -> list[torch.nn.Module]:
    """Blocks in execution order."""
    lists = ("joint_transformer_blocks", "transformer_blocks", "single_transformer_blocks", "layers")
    return [block for name in lists for block in getattr(pipeline.transformer, name, [])]


@functools.cache
def opened(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The pipeline as diffusers opens it: one for all tests, which leave nothing on it."""
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run(
    pipeline: Any,
    name: str,
    prompts: list[str] | None,
    seeds: list[int],
    edit: tuple[int, Edit] | None = None,
    **call: Any,
) -> Seen:
    """Run a pipeline under hooks, with the tiny one's call arguments and an edit of one block's image stream.

    Without prompts, the call has their embeddings.
    """
    pipeline.set_progress_bar_config(disable=True)
    seen = Seen()

    def before(module: Any, args: Any, kwargs: Any) -> None:
        text = kwargs["encoder_hidden_states"]
        # Lumina2 takes padding out before the blocks.
        mask = kwargs["encoder_attention_mask"] if name == "lumina2" else torch.ones(text.shape[:2])
        seen.text_tokens.append(int(mask.sum(dim=1).max()))

    def after(number: int) -> Callable:
        def hook(module: Any, args: Any, output: Any) -> Any:
            visit, start = len(seen.text_tokens) - 1, REGISTERS.get(name, 0)
            end = start + seen.text_tokens[-1]
            if isinstance(output, tuple):
                image, text = output if name in IMAGE_FIRST else output[::-1]
                streams = {"text": text if text is None else text[:, start:], "image": image}
            elif name in IMAGE_ONLY:
                streams = {"image": output}
            else:
                streams = {"text": output[:, start:end], "image": output[:, end:]}
            if edit is not None and edit[0] == number:
                streams["image"] = edit[1](visit, streams["image"].clone())
            for stream, tensor in streams.items():
                if tensor is not None:
                    seen.hidden[visit, number, stream] = tensor.clone()
            if isinstance(output, tuple):
                return (streams["image"], text) if name in IMAGE_FIRST else (text, streams["image"])
            return torch.cat([output[:, :start], *streams.values()], dim=1)

        return hook

    handles = [pipeline.transformer.register_forward_pre_hook(before, with_kwargs=True)]
    for number, block in enumerate(blocks_of(pipeline)):
        handles.append(block.register_forward_hook(after(number)))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    call = {**tiny.TINY[name].call, **call}
    if isinstance(call.get("negative_prompt"), str):
        call["negative_prompt"] = [call["negative_prompt"]] * len(seeds)
    try:
        images = pipeline(prompt=prompts, generator=generators, output_type="np", **call).images
    finally:
        for handle in handles:
            handle.remove()
    seen.images = np.round(np.nan_to_num(images) * 255).astype(np.uint8)
    return seen


def branch_rows(name: str, guided: bool, step: int, branch: str, images: int) -> tuple[int, slice]:
    """The visit and the rows of it in which a branch of a step runs."""
    if not guided:
        return step, slice(0, images)
    if name in DOUBLED:  # torch.cat([negative, positive])
        return step, slice(0, images) if branch == "uncond" else slice(images, 2 * images)
    return 2 * step + (branch == "uncond"), slice(0, images)
