"""Which sample is of which prompt and noise, and what is refused; ``tests/families`` has it on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pipeline_recording import PLAIN, PROMPTS

import ditscope as ds
from ditscope.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)


def test_samples_are_prompts_by_seeds_with_the_noise_of_their_seed(dit) -> None:
    call = {**PLAIN, "num_inference_steps": 2}
    kept = {"blocks": [0], "channels": [1], "steps": [-1]}
    made = ds.capture_image(dit, IMAGE, PROMPTS, [3, 8], **kept, **call)
    walk = made.trajectory["latents"].values
    assert [(spec.prompt, spec.seed) for spec in made.specs] == [(p, s) for p in PROMPTS for s in (3, 8)]
    assert np.array_equal(walk[:2], walk[2:])
    assert not np.array_equal(walk[0, :-1], walk[1, :-1])
    assert np.array_equal(walk[0, -1], walk[1, -1])
    plain = ds.capture(dit, PROMPTS[0], [3, 8], **kept, **call)
    np.testing.assert_allclose(walk[:2, 0], plain.trajectory["latents"].values[:, 0], atol=1e-5)
    assert dict(made.hidden().sizes) == {
        "sample": 4,
        "step": 1,
        "branch": 1,
        "block": 1,
        "token": 32,
        "channel": 1,
    }


@pytest.mark.parametrize(
    ("image", "given", "words"),
    [
        (IMAGE[:8], {}, r"an image uint8 \(8, 32, 3\); expected uint8 \(16, 32, 3\)"),
        (IMAGE / 255, {}, "an image float64"),
        (IMAGE, {"method": "ddim"}, "method 'ddim'"),
        (IMAGE, {"iterations": 0}, "iterations=0"),
        (IMAGE, {"seeds": [1, 2], "method": "inversion"}, "2 seeds of an inversion"),
        (IMAGE, {"latents": torch.zeros(1)}, "latents= in capture_image"),
        (IMAGE, {"batch_size": 2}, "batch_size= in capture_image"),
    ],
)
def test_what_cannot_be_used_is_refused(dit, image, given, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.capture_image(dit, image, PROMPTS[0], **given, **PLAIN)
