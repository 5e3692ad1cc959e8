"""The reference that traced runs are compared with: diffusers alone, with plain PyTorch hooks.

Nothing here uses ditscope. Blocks are the transformer's own lists, streams are known by the names of
arguments and the order of return values in diffusers' FLUX.1 code, and visits are counted calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

SIZE = {"height": 16, "width": 32, "max_sequence_length": 24}
"""Small, and not square: a swapped axis shows."""

GUIDED = {**SIZE, "negative_prompt": "", "true_cfg_scale": 2.5}
PLAIN = {**SIZE, "true_cfg_scale": 1.0}

Edit = Callable[[int, int, torch.Tensor], torch.Tensor]
"""A new image or text stream from visit, block and the old one."""


@functools.cache
def opened(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The pipeline as plain diffusers opens it."""
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@dataclass
class Seen:
    """What plain hooks saw: clones, by ``(visit, block, site, stream)`` or by visit."""

    images: np.ndarray = field(default_factory=lambda: np.empty(0))
    hidden: dict[tuple[int, int, str, str], torch.Tensor] = field(default_factory=dict)
    latents: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)
    text: list[torch.Tensor] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)
    scheduler: list[tuple[float, float]] = field(default_factory=list)
    """(sigma, timestep) of every scheduler step, as the scheduler has them."""


def generate(
    pipeline: Any,
    prompts: list[str],
    seeds: list[int],
    *,
    edits: dict[tuple[str, str], Edit] | None = None,
    **call: Any,
) -> Seen:
    """Run the pipeline under hooks, with edits by ``(site, stream)``; images are uint8."""
    seen, handles = Seen(), []
    transformer = pipeline.transformer
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]

    def before_transformer(module: Any, args: Any, kwargs: Any) -> None:
        seen.latents.append(kwargs["hidden_states"].clone())
        seen.text.append(kwargs["encoder_hidden_states"].clone())
        seen.timesteps.append(float(kwargs["timestep"][0]))

    def after_transformer(module: Any, args: Any, output: Any) -> None:
        seen.outputs.append(output[0].clone())

    def passed(block: int, site: str, image: torch.Tensor, text: torch.Tensor) -> tuple:
        visit = len(seen.latents) - 1
        streams = {"image": image, "text": text}
        for stream in streams:
            if (edits or {}).get((site, stream)) is not None:
                streams[stream] = edits[site, stream](visit, block, streams[stream])
            seen.hidden[visit, block, site, stream] = streams[stream].clone()
        return streams["image"], streams["text"]

    def watch(number: int) -> tuple[Callable, Callable]:
        def before(module: Any, args: Any, kwargs: Any) -> Any:
            image, text = passed(
                number, "block_input", kwargs["hidden_states"], kwargs["encoder_hidden_states"]
            )
            return args, {**kwargs, "hidden_states": image, "encoder_hidden_states": text}

        def after(module: Any, args: Any, output: Any) -> Any:
            text, image = output
            image, text = passed(number, "block_output", image, text)
            return text, image

        return before, after

    def at_step_end(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        seen.scheduler.append((float(pipe.scheduler.sigmas[step]), float(timestep)))
        last.append(tensors["latents"].clone())
        return {}

    last: list[torch.Tensor] = []
    if call.get("negative_prompt") is not None:
        call["negative_prompt"] = [call["negative_prompt"]] * len(prompts)
    try:
        handles.append(transformer.register_forward_pre_hook(before_transformer, with_kwargs=True))
        handles.append(transformer.register_forward_hook(after_transformer))
        for number, block in enumerate(blocks):
            before, after = watch(number)
            handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(block.register_forward_hook(after))
        images = pipeline(
            prompt=prompts,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
            callback_on_step_end=at_step_end,
            **call,
        ).images
    finally:
        for handle in handles:
            handle.remove()
    seen.latents.append(last[-1])
    seen.images = np.round(images * 255).astype(np.uint8)
    return seen


def attributes(pipeline: Any) -> dict[str, dict[str, Any]]:
    """What every module of a pipeline has of its own: forwards, hooks, parts."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {
        f"{name}.{path}": dict(vars(module))
        for name, part in networks.items()
        for path, module in part.named_modules()
    }
