"""A look at a call: its schedule and shapes are those of the run."""

from __future__ import annotations

import pytest
import torch

import bare_pipeline
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced


def test_a_probe_leaves_the_callback_to_the_run(dit, prompts) -> None:
    called = []
    probe(
        dit,
        [(prompts[0], 0)],
        callback_on_step_end=called.append,
        num_inference_steps=1,
        **bare_pipeline.PLAIN,
    )
    assert called == []


@pytest.mark.parametrize("call", [bare_pipeline.GUIDED, bare_pipeline.PLAIN])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_probe_tells_the_shapes_of_the_run(dit, prompts, call, steps) -> None:
    probed = probe(dit, [(prompts[0], 0), (prompts[1], 1)], num_inference_steps=steps, **call)
    shapes: dict[str, set] = {"image": set(), "text": set(), "latents": set()}

    def note(visit) -> None:
        shapes["latents"].add(tuple(dit.transformer.inputs[1]["hidden_states"].shape[1:]))
        for stream in ("image", "text"):
            shapes[stream].add(tuple(dit.blocks[0].read("block_output", stream).shape[1:]))

    outcome = run_traced(dit, [(prompts[0], 0)], note, num_inference_steps=steps, **call)
    assert shapes["image"] == {(probed.tokens["image"], probed.width)}
    assert shapes["text"] == {(probed.tokens["text"], probed.width)}
    assert shapes["latents"] == {(probed.latent_tokens, probed.latent_channels)}
    assert probed.grid == (8, 12)
    assert outcome.images.shape[1:3] == probed.image_size == (32, 48)
    assert len(probed.schedule) == steps * (2 if call is bare_pipeline.GUIDED else 1)
    assert probed.dtype == torch.float32
    assert probed.seconds_per_visit > 0
