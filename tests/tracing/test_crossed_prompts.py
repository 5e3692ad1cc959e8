"""Text tokens of one text with the pooled vector of another, against the pipeline's own encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.errors import InputError

CALL = {"num_inference_steps": 1, "height": 32, "width": 32}


def test_one_text_in_both_is_the_text_itself(dit, prompts) -> None:
    crossed, labels = ds.crossed_prompts(dit, prompts)
    assert labels == {
        "text": [prompts[0], prompts[0], prompts[1], prompts[1]],
        "pooled": [prompts[0], prompts[1], prompts[0], prompts[1]],
    }
    made = ds.capture(dit, crossed, 0, channels=[0], **CALL).images.values
    plain = ds.capture(dit, prompts, 0, channels=[0], **CALL).images.values
    assert np.array_equal(made[[0, 3]], plain)
    assert len({image.tobytes() for image in made}) == 4


def test_the_transformer_is_passed_each_of_its_own_text(dit, prompts) -> None:
    crossed, _ = ds.crossed_prompts(dit, prompts, max_sequence_length=16)
    with torch.no_grad():
        embeds, pooled, _ = zip(
            *(dit.diffusers_pipeline.encode_prompt(p, max_sequence_length=16) for p in prompts), strict=True
        )
    mixed = crossed[1].tensors
    assert torch.equal(mixed["prompt_embeds"], embeds[0])
    assert torch.equal(mixed["pooled_prompt_embeds"], pooled[1])
    assert mixed["prompt_embeds"].shape[1] == 16


def test_labels_come_with_a_recording(dit, prompts, tmp_path) -> None:
    crossed, labels = ds.crossed_prompts(dit, prompts)
    with ds.record(dit, tmp_path / "a.zarr", sites=["attn_gate"], blocks=[0], branches=["cond"]) as rec:
        cache = rec.generate(crossed, seeds=[0], columns=labels, **CALL)
    gate = cache.hidden("image", "attn_gate").assign_coords(
        {name: ("sample", cache.samples[name]) for name in labels}
    )
    # At the first step the gate sees the prompt by its pooled vector alone.
    assert np.array_equal(gate[0], gate[2])
    assert np.array_equal(gate[1], gate[3])
    assert not np.array_equal(gate[0], gate[1])
    assert list(gate["text"].values) == labels["text"]


def test_what_cannot_be_crossed_is_refused(dit, prompts) -> None:
    for texts, call, words in (
        (prompts[:1], {}, "1 different texts of 1"),
        (prompts + prompts[:1], {}, "2 different texts of 3"),
        (prompts, {"joint_attention_kwargs": {"scale": 0.5}}, "joint_attention_kwargs"),
    ):
        with pytest.raises(InputError, match=words):
            ds.crossed_prompts(dit, texts, **call)
