"""What people change on a pipeline that is open: the columns of the matrix in the table of support."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plain_hooks
import plain_modules
import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from offloads import OFFLOADS
from peft import LoraConfig


@dataclass(frozen=True)
class Change:
    """A change of an open pipeline.

    Attributes:
        make: changes a pipeline, whose tiny name and an empty folder come with it.
        refused: what a recording that was begun before names when it does not go on; None where no number changes.
        lora: whether the pipeline has a LoRA named ``style`` from the beginning.
        n_steps: steps that show it.
    """

    make: Callable[[Any, str, Path], None] = lambda *_: None
    refused: str | None = None
    lora: bool = False
    n_steps: int = 1


def add_lora(transformer: Any) -> None:
    """A random LoRA that acts, on the linear modules outside of blocks and in the first of each kind of block."""
    later = re.compile(r"(blocks|layers)\.[1-9]")
    targets = [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and not later.search(name)
    ]
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False)
    transformer.add_adapter(config, adapter_name="style")


class Doubling(torch.nn.Module):
    """Around a module that is read."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.inner(*args, **kwargs)
        return tuple(2 * each for each in output) if isinstance(output, tuple) else 2 * output


def wrap_modules(pipeline: Any, name: str, folder: Path) -> None:
    """Put another module in the place of every one at which something is read."""
    sources = set()
    for block in plain_hooks.blocks_of(pipeline):
        for path in {path for path, _ in plain_modules.modules_of(name).values()}:
            if getattr(block, path, None) is not None:
                block.set_submodule(path, Doubling(block.get_submodule(path)))
        if name not in plain_hooks.IMAGE_ONLY and name != "chroma":
            sources |= set(plain_modules.sources(name, pipeline.transformer, block).values())
    for path, module in list(pipeline.transformer.named_modules()):
        if module in sources:
            pipeline.transformer.set_submodule(path, Doubling(module))


def swap_processors(pipeline: Any, name: str, folder: Path) -> None:
    """Give every attention a processor of one's own."""

    def halving(processor: Any) -> Any:
        class Halving(type(processor)):
            @functools.wraps(type(processor).__call__)
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                output = super().__call__(*args, **kwargs)
                return tuple(each / 2 for each in output) if isinstance(output, tuple) else output / 2

        return Halving()

    for module in pipeline.transformer.modules():
        if hasattr(module, "processor"):
            module.processor = halving(module.processor)


class Shifted(FlowMatchEulerDiscreteScheduler):
    """A scheduler of one's own."""


def swap_scheduler(pipeline: Any, name: str, folder: Path) -> None:
    """Set a scheduler of another class: of one's own for CogView4, to whose call no other of diffusers' fits."""
    if name == "pixart-sigma":
        pipeline.scheduler = EulerDiscreteScheduler()
    elif name == "cogview4":
        pipeline.scheduler = Shifted(shift=5.0)
    else:
        pipeline.scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")


def cast_layerwise(pipeline: Any, name: str, folder: Path) -> None:
    pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)


def quantize(pipeline: Any, name: str, folder: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(pipeline.transformer, quantization.Int8WeightOnlyConfig())


def of_transformer(change: Callable[[Any], None]) -> Callable[[Any, str, Path], None]:
    return lambda pipeline, name, folder: change(pipeline.transformer)


def offload(way: str) -> Change:
    return Change(lambda pipeline, name, folder: OFFLOADS[way](pipeline, folder))


STYLE = r"live\.transformer\.adapters\.style"

CHANGES: dict[str, Change] = {
    "LoRA before opening": Change(lora=True),
    "LoRA after opening": Change(
        of_transformer(add_lora),
        rf"{STYLE}: found <absent>, expected {{'layers'",
    ),
    "LoRA scaled": Change(
        of_transformer(lambda transformer: transformer.set_adapters(["style"], [0.25])),
        rf"{STYLE}\.scale: found 2\.0, expected 0\.5",
        lora=True,
    ),
    "LoRA disabled": Change(
        of_transformer(lambda transformer: transformer.disable_adapters()),
        rf"{STYLE}\.disabled: found False, expected True",
        lora=True,
    ),
    "LoRA fused": Change(
        of_transformer(lambda transformer: transformer.fuse_lora()),
        rf"weights_fingerprint: found .*{STYLE}\.fused: found False, expected True",
        lora=True,
    ),
    "LoRA unloaded": Change(
        of_transformer(lambda transformer: transformer.unload_lora()),
        rf"{STYLE}: found {{.*}}?, expected <absent>",
        lora=True,
    ),
    "modules wrapped": Change(wrap_modules, r"live\.transformer\.modules\.\S+\.modules: found"),
    "processors swapped": Change(
        swap_processors, r"live\.transformer\.processors\.\S+: found \d+, expected <absent>; \S+\.Halving"
    ),
    "scheduler swapped": Change(swap_scheduler, r"live\.scheduler\.class: found 'diffusers", n_steps=2),
    "model offload": offload("model offload"),
    "sequential offload": offload("sequential offload"),
    "group offload": offload("group offload, leaves"),
    "layerwise casting": Change(cast_layerwise, "weights_fingerprint"),
    "int8 weights of torchao": Change(quantize, "weights_fingerprint"),
}
