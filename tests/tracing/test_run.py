"""One traced run: seeds, batches, latents, and what is refused before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
from ditscope.errors import InputError
from ditscope.models.sites import check_branches, check_sites, check_streams
from ditscope.tracing.probe import probe
from ditscope.tracing.run import (
    check_batch_size,
    check_call,
    check_prompts,
    check_seeds,
    pair_samples,
    run_traced,
)

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


def test_samples_are_prompt_major() -> None:
    assert pair_samples(["a", "b"], [3, 1]) == [("a", 3), ("a", 1), ("b", 3), ("b", 1)]


def test_single_prompts_and_seeds_become_lists() -> None:
    assert check_prompts("a") == ["a"]
    assert check_prompts(np.array(["a", "b"])) == ["a", "b"]
    assert check_seeds(3) == check_seeds(np.int64(3)) == [3]
    assert check_seeds(range(2)) == check_seeds(np.arange(2)) == [0, 1]
    assert all(type(seed) is int for seed in check_seeds(np.arange(2)))


@pytest.mark.parametrize("prompts", [[], "", "  ", None, 5, b"circle", ["circle", ""], ["circle", None]])
def test_unusable_prompts_are_refused(prompts) -> None:
    with pytest.raises(InputError, match="expected one or more non-empty strings"):
        check_prompts(prompts)


@pytest.mark.parametrize("seeds", [[], None, 1.5, "3", True, [1, 1], [0, None], [2**63], [0, 1.0]])
def test_unusable_seeds_are_refused(seeds) -> None:
    with pytest.raises(InputError, match="expected one or more different integers"):
        check_seeds(seeds)


@pytest.mark.parametrize("batch_size", [0, -1, 1.0, True, None, "2"])
def test_unusable_batch_sizes_are_refused(batch_size) -> None:
    with pytest.raises(InputError, match="expected a whole number from 1"):
        check_batch_size(batch_size)


@pytest.mark.parametrize("name", ["prompt", "generator", "seed", "output_type", "latents", "steps"])
def test_arguments_that_ditscope_sets_or_nobody_knows_are_refused(dit, name) -> None:
    with pytest.raises(InputError, match=f"found pipeline argument {name}; expected any of .*sigmas"):
        check_call(dit, {name: 1})


@pytest.mark.parametrize("check", [check_streams, check_sites, check_branches])
@pytest.mark.parametrize("names", [[], ["sideways"], None, 3])
def test_unknown_names_are_refused_with_the_known_ones(check, names) -> None:
    with pytest.raises(InputError, match=r"expected (one of|at least one of) "):
        check(names)


def test_names_are_put_in_the_order_of_the_vocabulary() -> None:
    assert check_streams("text") == ("text",)
    assert check_streams(["text", "image", "text"]) == ("image", "text")
    assert check_sites(["block_output", "block_input"]) == ("block_input", "block_output")


@pytest.mark.parametrize("call", [bare_pipeline.GUIDED, bare_pipeline.PLAIN])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_probe_tells_the_shapes_of_the_run(dit, prompts, call, steps) -> None:
    found = probe(dit, [(prompts[0], 0), (prompts[1], 1)], num_inference_steps=steps, **call)
    shapes: dict[str, set] = {"image": set(), "text": set(), "latents": set()}

    def note(visit) -> None:
        shapes["latents"].add(tuple(dit.transformer.inputs[1]["hidden_states"].shape[1:]))
        for stream in ("image", "text"):
            shapes[stream].add(tuple(dit.blocks[0].read("block_output", stream).shape[1:]))

    outcome = run_traced(dit, [(prompts[0], 0)], note, num_inference_steps=steps, **call)
    assert shapes["image"] == {(found.tokens["image"], found.width)}
    assert shapes["text"] == {(found.tokens["text"], found.width)}
    assert shapes["latents"] == {(found.latent_tokens, found.latent_channels)}
    assert found.grid == (8, 12)
    assert outcome.images.shape[1:3] == found.image_size == (32, 48)
    assert len(found.schedule) == steps * (2 if call is bare_pipeline.GUIDED else 1)
    assert found.dtype == torch.float32
    assert found.seconds_per_visit > 0
