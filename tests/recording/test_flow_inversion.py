"""Inversion beside a loop over the bare transformer, written out; ``tests/families`` has its error."""

from __future__ import annotations

import torch
from pipeline_recording import PLAIN, PROMPTS

import bare_pipeline
import ditscope as ds
from ditscope.recording.flow_inversion import inverted


def test_it_is_the_samplers_steps_backwards(dit, untrained_folder) -> None:
    pipeline = bare_pipeline.opened(untrained_folder)
    passed = []
    handle = pipeline.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: passed.append(kwargs), with_kwargs=True
    )
    try:
        bare_pipeline.generate(pipeline, [PROMPTS[0]], [0], **PLAIN)
    finally:
        handle.remove()
    sigmas = [*pipeline.scheduler.sigmas.tolist()]
    latents = clean = torch.randn(1, 32, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for step in reversed(range(len(passed))):
            found = latents
            for _ in range(2):
                velocity = pipeline.transformer(**{**passed[step], "hidden_states": found})[0]
                found = latents - (sigmas[step + 1] - sigmas[step]) * velocity
            latents = found
    made = inverted(dit, PROMPTS[0], clean, 2, **PLAIN)
    torch.testing.assert_close(made, latents, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(made, inverted(dit, PROMPTS[0], clean, 1, **PLAIN), rtol=1e-3)


def test_the_more_iterations_the_nearer_it_comes_back() -> None:
    """On a trained pipeline, whose velocity changes slowly from step to step."""
    dit, prompt = ds.load("shapes"), ds.shapes.prompts(1)[0]
    call = {"num_inference_steps": 4, "true_cfg_scale": 1.0}
    kept = {"blocks": [0], "channels": [0], "steps": [0]}
    image = ds.capture(dit, prompt, 1, **kept, **call).images.values[0]
    errors = [
        ds.capture_image(dit, image, prompt, method="inversion", iterations=number, **kept, **call).config[
            "image"
        ]["reconstruction_error"][0]
        for number in (1, 5)
    ]
    assert errors[0] > 2 * errors[1]
