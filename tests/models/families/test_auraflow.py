"""AuraFlow against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest
import torch

from ditscope.models.families.auraflow import AURAFLOW


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {
        "joint": (4, "AuraFlowJointTransformerBlock"),
        "single": (32, "AuraFlowSingleTransformerBlock"),
    }
    transformer = assert_published(AURAFLOW, "AuraFlow-v0.3", blocks, width=3072)
    assert transformer.get_parameter(AURAFLOW.registers).shape == (1, 8, 3072)


def test_registers_text_and_image_follow_each_other_in_single_blocks(assert_streams, plain_run) -> None:
    assert_streams(AURAFLOW, "auraflow", image="pos_embed", text="context_embedder")
    run = plain_run("auraflow")
    joined = run.heard["single_transformer_blocks.0"][1]["hidden_states"]
    assert joined.shape[1] == 8 + 14 + 4 * 6
    passed = run.heard["joint_transformer_blocks.0"][1]["encoder_hidden_states"]
    assert torch.equal(passed[:, :8], run.pipeline.transformer.register_tokens.expand(2, -1, -1))


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({}, ("uncond", "cond")),  # the pipeline's own scale is 3.5
        ({"guidance_scale": 1.0}, ("cond",)),
    ],
)
def test_the_scale_alone_doubles_the_batch(assert_guidance, call, branches) -> None:
    assert_guidance(AURAFLOW, "auraflow", call, branches)


def test_the_timestep_is_a_thousandth_of_the_schedulers(assert_timesteps) -> None:
    assert_timesteps(AURAFLOW, "auraflow", lambda timestep: timestep / 1000)
