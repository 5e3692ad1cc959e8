"""One traced run: seeds, batches, latents, and arguments that are refused before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.errors import InputError
from ditscope.tracing.run import check_call, run_traced

CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
PROMPT = "a small red circle at the left on a plain blue background"


def start(dit, samples) -> np.ndarray:
    return run_traced(dit, samples, keep_latents=True, **CALL).latents[:, 0]


def test_an_image_starts_from_its_own_seed_whatever_its_neighbours(dit) -> None:
    alone = start(dit, [(PROMPT, 7)])[0]
    assert np.array_equal(start(dit, [(PROMPT, 3), (PROMPT, 7)])[1], alone)
    assert np.array_equal(start(dit, [("a white star", 7), (PROMPT, 3)])[0], alone)
    assert not np.array_equal(start(dit, [(PROMPT, 8)])[0], alone)


def test_the_start_is_the_noise_of_the_seed(dit) -> None:
    latents = start(dit, [(PROMPT, 7)])[0]
    noise = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(7))
    packed = noise.view(1, 4, 8, 2, 12, 2).permute(0, 2, 4, 1, 3, 5).reshape(96, 16)
    assert np.array_equal(latents, packed.numpy())


def test_images_and_latents_are_those_of_the_bare_pipeline(dit, untrained_folder, prompts) -> None:
    expected = bare_pipeline.generate(bare_pipeline.opened(untrained_folder), prompts, [4, 9], **CALL)
    found = run_traced(dit, list(zip(prompts, [4, 9], strict=True)), keep_latents=True, **CALL)
    assert np.array_equal(found.images, expected.images)
    boundaries = [*expected.latents[::2][:2], expected.latents[-1]]  # one of the two branches of each step
    assert np.array_equal(found.latents, torch.stack(boundaries, dim=1).numpy())
    assert run_traced(dit, [(PROMPT, 0)], **CALL).latents.shape == (1, 0)


def test_the_caller_s_step_callback_is_called_and_obeyed(dit) -> None:
    steps = []

    def calm(pipeline, step, timestep, tensors):
        steps.append(step)
        return {"latents": torch.zeros_like(tensors["latents"])}

    found = run_traced(dit, [(PROMPT, 0)], keep_latents=True, callback_on_step_end=calm, **CALL)
    assert steps == [0, 1]
    assert not found.latents[:, 1:].any()
    assert found.latents[:, 0].any()


@pytest.mark.parametrize("name", ["prompt", "generator", "seed", "output_type", "latents", "steps"])
def test_arguments_that_ditscope_sets_or_nobody_knows_are_refused(dit, name) -> None:
    with pytest.raises(InputError, match=f"found pipeline argument {name}; expected any of .*sigmas"):
        check_call(dit, {name: 1})
