"""LoRAs, processors and schedulers that come and go on an open pipeline: all that is read is what plain hooks see."""

from __future__ import annotations

import copy
import functools
import itertools
from typing import Any

import numpy as np
import plain_hooks
import plain_modules
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from family_calls import NAMES, guided, returned, size, streams
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from support_table import EXCHANGED, LORA_STATES, WITHOUT_LORA

import ditscope as ds
from ditscope.models.live_state import live_digest, live_state
from ditscope.tracing.run import run_traced
from ditscope.vocabulary import SITES, passing_order

PROMPT, SEED, CHANNELS = tiny.PROMPTS[0], 3, [3, 7]


def call(name: str, n_steps: int) -> dict[str, Any]:
    return {"num_inference_steps": n_steps, **size(name), **guided(name)}


def attention(name: str) -> tuple[str, int | None, tuple[str, ...]]:
    """The module whose output is edited, which item of it, and the streams that it carries."""
    places = plain_modules.modules_of(name)
    module, item = place = places["attn_output", "image"]
    return module, item, tuple(stream for stream in streams(name) if places["attn_output", stream] == place)


def traced(dit, name: str, n_steps: int) -> tuple[np.ndarray, dict[Any, torch.Tensor]]:
    """Images, and all that can be read, in a run in which channels of the first block's attention are zeroed."""
    found: dict[Any, torch.Tensor] = {}

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


def plainly(
    pipeline: Any, name: str, n_steps: int
) -> tuple[np.ndarray, plain_hooks.Seen, plain_modules.Listening]:
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


def require_what_plain_hooks_see(dit, pipeline: Any, name: str, n_steps: int = 1) -> bytes:
    """Require that a trace reads what plain hooks on another pipeline see, bit for bit; the last output of a block."""
    images, found = traced(dit, name, n_steps)
    expected_images, seen, inside = plainly(pipeline, name, n_steps)
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
    return found[visit, len(dit.blocks) - 1, "block_output", "image"].numpy().tobytes()


def bare(folder) -> Any:
    """The pipeline of diffusers alone, with a transformer and a scheduler that a test may change."""
    shared = {
        name: part
        for name, part in plain_hooks.opened(folder).components.items()
        if name not in ("transformer", "scheduler")
    }
    return DiffusionPipeline.from_pretrained(folder, **shared)


def add(transformer: Any, adapter: str, seed: int) -> None:
    """A random LoRA that acts, on every linear module: those of modulation and the ones outside of blocks too."""
    if not hasattr(transformer, "linear_modules"):
        transformer.linear_modules = [
            name for name, each in transformer.named_modules() if isinstance(each, torch.nn.Linear)
        ]
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=transformer.linear_modules, init_lora_weights=False)
    transformer.add_adapter(config, adapter_name=adapter)


STATES = {
    "before opening": lambda transformer: None,
    "scaled": lambda transformer: transformer.set_adapters(["style"], [0.25]),
    "disabled": lambda transformer: transformer.disable_adapters(),
    "unloaded": lambda transformer: transformer.unload_lora(),
    "after opening": lambda transformer: add(transformer, "another", 2),
    "fused": lambda transformer: transformer.fuse_lora(),
}
"""What happens to the adapters of an open pipeline, one after the other."""


def test_the_table_of_support_names_these_states() -> None:
    assert tuple(STATES) == LORA_STATES


class Doubling(torch.nn.Module):
    """Around a module that is read."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.inner(*args, **kwargs)
        return tuple(2 * each for each in output) if isinstance(output, tuple) else 2 * output


def wrap(family: Any, transformer: Any) -> None:
    """Put another module in the place of every one at which something is read."""
    for layout in family.block_lists:
        for block, path in itertools.product(getattr(transformer, layout.path), layout.tapped_modules()):
            if getattr(block, path.split(".")[0], None) is not None:
                block.set_submodule(path, Doubling(block.get_submodule(path)))


@pytest.mark.parametrize("name", NAMES)
def test_modules_that_come_and_go_are_read_and_edited_as_plain_hooks_see_them(folder_of, name) -> None:
    """Under the states of a LoRA, where diffusers has one for the family, and then with every module wrapped."""
    pipeline, outputs, live = bare(folder_of(name)), {}, {}
    adapted = tiny.TINY[name].family not in WITHOUT_LORA
    assert hasattr(pipeline.transformer, "add_adapter") == adapted
    if adapted:
        add(pipeline.transformer, "style", 1)
    own = copy.deepcopy(pipeline.transformer)
    dit = ds.load(str(folder_of(name)), transformer=own)
    blocks = dit.blocks
    for state, change in (STATES if adapted else {}).items():
        for transformer in (own, pipeline.transformer):
            change(transformer)
        outputs[state] = require_what_plain_hooks_see(dit, pipeline, name)
        live[state] = live_digest(live_state(dit))
    assert len(set(live.values())) == len(live), "a recording would go on in another state"
    for transformer in (own, pipeline.transformer):
        wrap(dit.family, transformer)
    outputs["wrapped"] = require_what_plain_hooks_see(dit, pipeline, name)
    assert all(a is b for a, b in zip(blocks, dit.blocks, strict=True))
    assert outputs.get("disabled") == outputs.get("unloaded")
    assert len({outputs[state] for state in outputs if state != "fused"}) == len(outputs) - 2 * adapted


def test_the_loader_of_a_pipeline_is_followed(folder_of) -> None:
    """As people do it: a file's tensors, scaled, switched off and on, fused and taken apart, deleted, unloaded."""
    source = bare(folder_of("flux"))
    add(source.transformer, "style", 1)
    tensors = {
        f"transformer.{name}": tensor
        for name, tensor in get_peft_model_state_dict(source.transformer, adapter_name="style").items()
    }
    dit, other = ds.load(str(folder_of("flux"))), bare(folder_of("flux"))
    steps = [
        lambda pipeline: pipeline.load_lora_weights(dict(tensors), adapter_name="style"),
        lambda pipeline: pipeline.load_lora_weights(dict(tensors), adapter_name="another"),
        lambda pipeline: pipeline.set_adapters(["style", "another"], [0.25, 2.0]),
        lambda pipeline: pipeline.disable_lora(),
        lambda pipeline: pipeline.enable_lora(),
        lambda pipeline: pipeline.fuse_lora(adapter_names=["style"]),
        lambda pipeline: pipeline.unfuse_lora(),
        lambda pipeline: pipeline.delete_adapters("style"),
        lambda pipeline: pipeline.unload_lora_weights(),
    ]
    outputs = []
    for step in steps:
        for pipeline in (dit.diffusers_pipeline, other):
            step(pipeline)
        outputs.append(require_what_plain_hooks_see(dit, other, "flux"))
    assert len(set(outputs)) > 5
    assert "base_layer" not in dict(other.transformer.named_modules())


def test_the_check_holds_under_a_lora_that_came_after_opening(folder_of) -> None:
    dit = ds.load(str(folder_of("flux")))
    add(dit.diffusers_pipeline.transformer, "style", 1)
    report = dit.check(**size("flux"))
    assert report.ok, report


def halve_attention(pipeline: Any) -> None:
    """Processors of one's own, as people pass them to ``set_attn_processor``."""

    def halving(processor: Any) -> Any:
        class Halving(type(processor)):
            @functools.wraps(type(processor).__call__)
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                output = super().__call__(*args, **kwargs)
                return tuple(each / 2 for each in output) if isinstance(output, tuple) else output / 2

        return Halving()

    processors = pipeline.transformer.attn_processors
    pipeline.transformer.set_attn_processor({path: halving(each) for path, each in processors.items()})


def shift(pipeline: Any) -> None:
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)


@pytest.mark.parametrize("swap", [halve_attention, shift])
@pytest.mark.parametrize("name", EXCHANGED)
def test_processors_and_schedulers_swapped_after_opening_are_those_that_run(folder_of, name, swap) -> None:
    dit, pipeline = ds.load(str(folder_of(name))), bare(folder_of(name))
    before = require_what_plain_hooks_see(dit, pipeline, name, n_steps=2)
    for each in (dit.diffusers_pipeline, pipeline):
        swap(each)
    assert require_what_plain_hooks_see(dit, pipeline, name, n_steps=2) != before
