"""LoRAs as people load them, on FLUX.1: all that is read is what plain hooks see. See ``test_matrix.py`` too."""

from __future__ import annotations

from changes import add_lora
from family_calls import size
from peft.utils import get_peft_model_state_dict
from read_and_edited import bare, plainly, require_what_plain_hooks_see

import ditscope as ds


def test_the_loader_of_a_pipeline_is_followed(folder_of) -> None:
    """As people do it: a file's tensors, scaled, switched off and on, fused and taken apart, deleted, unloaded."""
    source = bare(folder_of("flux"))
    add_lora(source.transformer)
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
        read = require_what_plain_hooks_see(dit, plainly(other, "flux", 1), "flux")
        visit, block, *_ = max(read)
        outputs.append(read[visit, block, "block_output", "image"].numpy().tobytes())
    assert len(set(outputs)) > 5
    assert "base_layer" not in dict(other.transformer.named_modules())


def test_the_check_holds_under_a_lora_that_came_after_opening(folder_of) -> None:
    dit = ds.load(str(folder_of("flux")))
    add_lora(dit.diffusers_pipeline.transformer)
    report = dit.check(**size("flux"))
    assert report.ok, report
