"""Images by prompt and seed, and that nothing but them is made under a guidance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.errors import EditError, InputError, UnsupportedError
from ditscope.tracing import images

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


def test_what_a_later_batch_lacks_is_refused_before_the_first_run(dit, monkeypatch) -> None:
    """Masks by position of the first two samples; each batch has one of four."""
    monkeypatch.setattr(images, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    masks = xr.DataArray(np.ones((2, 32), bool), dims=("sample", "token"))
    with (
        ds.guidance.detail([3], 2.0, 1, tokens=masks),
        pytest.raises(InputError, match="masks of 2 samples in a run that has a sample 2"),
    ):
        dit.generate_images(PROMPTS, SEEDS, **CALL)


def test_masks_by_position_go_with_their_samples_through_batches(dit) -> None:
    masks = xr.DataArray(np.zeros((4, 32), bool), dims=("sample", "token"))
    masks[1, 5:20] = masks[2, :] = masks[3, 25:] = True
    with ds.guidance.detail([3], 2.0, 1, tokens=masks):
        found = dit.generate_images(PROMPTS, SEEDS, **CALL)
    with ds.guidance.detail([3], 2.0, 1, tokens=masks.values[3]):
        alone = dit.generate_images(PROMPTS[1], SEEDS[1], **CALL)
    assert np.array_equal(found[3], alone[0])
    assert np.array_equal(found[0], dit.generate_images(PROMPTS[0], SEEDS[0], **CALL)[0])


def test_latents_are_no_images(dit) -> None:
    with pytest.raises(InputError, match="images"):
        dit.generate_images(PROMPTS, 5, output_type="latent", **CALL)
