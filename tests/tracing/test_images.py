"""Images by prompt and seed, and that nothing but them is made under a guidance."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bare_pipeline
import ditscope as ds
from ditscope.errors import EditError, InputError, UnsupportedError

PROMPTS, SEEDS = ["a red circle", "a white star"], [5, 6]
CALL = {"num_inference_steps": 1, **bare_pipeline.GUIDED}
GUIDANCE = ds.guidance.detail([3, 77], 2.0, "double.2")


def test_images_are_those_of_the_bare_pipeline(dit, untrained_folder) -> None:
    images = dit.generate_images(PROMPTS, SEEDS, batch_size=2, **CALL)
    assert images.dims == ("sample", "y_pixel", "x_pixel", "rgb")
    assert images["prompt"].values.tolist() == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2
    assert images["seed"].values.tolist() == [5, 6, 5, 6]
    assert images.attrs == {"model": dit.name}
    bare = bare_pipeline.opened(untrained_folder)
    for row, prompt in enumerate(PROMPTS):
        expected = bare_pipeline.generate(bare, [prompt] * 2, SEEDS, **CALL).images
        assert np.array_equal(images.values[2 * row : 2 * row + 2], expected)


def test_the_guidance_of_the_block_around_is_taken_and_written_down(dit) -> None:
    bare = dit.generate_images(PROMPTS, 5, **CALL)
    with GUIDANCE:
        guided = dit.generate_images(PROMPTS, 5, **CALL)
        again = dit.generate_images(PROMPTS, 5, **CALL)
    assert not np.array_equal(bare, guided)
    assert np.array_equal(guided, again)
    assert ds.guidance.Guidance.from_json(json.loads(guided.attrs["guidance"])) == GUIDANCE
    assert np.array_equal(dit.generate_images(PROMPTS, 5, **CALL), bare)


def test_other_runs_under_a_guidance_are_refused(dit, tmp_path) -> None:
    edits = {"zero": ds.edits.zero([3])}
    with GUIDANCE:
        with pytest.raises(UnsupportedError, match="that does not take it"):
            ds.compare(dit, PROMPTS, 5, edits, ["psnr"], **CALL)
        with (
            pytest.raises(UnsupportedError, match="that does not take it"),
            ds.record(dit, tmp_path / "a") as rec,
        ):
            rec.generate(PROMPTS, seeds=5, **CALL)
        with pytest.raises(UnsupportedError, match="that does not take it"):
            dit.generate(PROMPTS[0], seed=5, **CALL)
    assert not (tmp_path / "a").exists()
    dit.generate_images(PROMPTS[0], 5, **CALL)


@pytest.mark.parametrize(
    ("guidance", "words"),
    [
        (ds.guidance.detail([3], 2.0, "double.9"), "double.9"),
        (ds.guidance.detail([500], 2.0, 1), "channel 500"),
        (ds.guidance.detail([3], 2.0, 1, steps=[4]), "step 4"),
        (ds.guidance.detail([3], 2.0, 1, sigmas=(0.0, 0.1)), "sigmas"),
    ],
)
def test_a_guidance_that_does_not_fit_is_refused_before_the_run(dit, guidance, words) -> None:
    with guidance, pytest.raises((InputError, EditError), match=words):
        dit.generate_images(PROMPTS, 5, **CALL)
    assert dit.run_state.n_visits == dit.run_state.n_forwards <= 2  # of the probe
    dit.generate_images(PROMPTS[0], 5, **CALL)


def test_latents_are_no_images(dit) -> None:
    with pytest.raises(InputError, match="images"):
        dit.generate_images(PROMPTS, 5, output_type="latent", **CALL)
