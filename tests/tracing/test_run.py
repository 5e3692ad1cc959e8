"""One traced run: seeds, batches, latents, and arguments that are refused before it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from diffusers.callbacks import PipelineCallback

import bare_pipeline
from ditscope.errors import InputError, VisitError
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
    noise = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(7))
    packed = noise.view(1, 4, 4, 2, 8, 2).permute(0, 2, 4, 1, 3, 5).reshape(32, 16)
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


def test_a_callback_is_handed_what_it_asks_for(dit) -> None:
    handed = []

    class Asking(PipelineCallback):
        tensor_inputs: ClassVar = ["prompt_embeds"]

        def callback_fn(self, pipeline, step, timestep, tensors):
            handed.append(sorted(tensors))
            return tensors

    def plain(pipeline, step, timestep, tensors):
        handed.append(sorted(tensors))
        return tensors

    plainly = run_traced(dit, [(PROMPT, 0)], keep_latents=True, **CALL)
    asked = {"callback_on_step_end": plain, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    for given in ({"callback_on_step_end": Asking()}, asked, {"callback_on_step_end": plain}):
        found = run_traced(dit, [(PROMPT, 0)], keep_latents=True, **CALL, **given)
        assert np.array_equal(found.latents, plainly.latents)
    assert handed == [["prompt_embeds"]] * 4 + [["latents"]] * 2


def test_a_callback_that_returns_nothing_is_an_error(dit) -> None:
    with pytest.raises(InputError, match="NoneType from the callback at step 0"):
        run_traced(dit, [(PROMPT, 0)], callback_on_step_end=lambda *_: None, **CALL)


def test_an_interrupted_run_is_refused_as_one(dit) -> None:
    def stop(pipeline, step, timestep, tensors):
        pipeline._interrupt = step == 1
        return {}

    with pytest.raises(VisitError, match=r"interrupted at step 1 of 0 to 3 .pipeline.interrupt"):
        run_traced(dit, [(PROMPT, 0)], callback_on_step_end=stop, **{**CALL, "num_inference_steps": 4})
    run_traced(dit, [(PROMPT, 0)], callback_on_step_end=stop, **CALL)  # in the last step it changes nothing


def test_a_run_without_images_ends_in_the_same_latents(dit) -> None:
    decoded = []
    decoder = dit.diffusers_pipeline.vae.decoder
    hook = decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
    try:
        found = run_traced(dit, [(PROMPT, 0)], keep_latents=True, output_type="latent", **CALL)
        assert decoded == []
    finally:
        hook.remove()
    assert found.images.shape == (1, 0, 0, 3)
    assert np.array_equal(found.latents, run_traced(dit, [(PROMPT, 0)], keep_latents=True, **CALL).latents)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("prompt", "Prompts are given as such"),
        ("generator", "Pass seeds=generator"),
        ("seed", "Seeds are given as such"),
        ("num_images_per_prompt", r"seeds=range\(n\)"),
        ("return_dict", "Leave it out"),
        ("steps", "Correct or leave it out"),
    ],
)
def test_arguments_that_ditscope_sets_or_nobody_knows_are_refused(dit, name, remedy) -> None:
    with pytest.raises(
        InputError, match=f"found pipeline argument {name}; expected any of .*sigmas.*{remedy}"
    ):
        check_call(dit, {name: 1})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"output_type": "pil"}, "output_type='pil'; expected 'latent'"),
        ({"callback_on_step_end": 3}, "callback 3; expected a function"),
        ({"sigmas": torch.ones(2, 2)}, "expected a list of numbers"),
        ({"prompt_embeds": torch.ones(1, 2, 2)}, "prompt_embeds beside the prompts.*ds.PromptEmbeds"),
        ({"ip_adapter_image_embeds": [torch.ones(2, 1, 4)]}, "2 rows in ip_adapter_image_embeds"),
        (
            {"negative_ip_adapter_image_embeds": torch.ones(3, 4)},
            "3 rows in negative_ip_adapter_image_embeds",
        ),
    ],
)
def test_values_that_are_of_no_use_are_refused_before_the_run(dit, call, words) -> None:
    with pytest.raises(InputError, match=words):
        check_call(dit, call)
