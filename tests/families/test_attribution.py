"""Effects to first order against finite differences of the very edit, on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from family_calls import ONE_OF_EACH_FAMILY, PROMPTS, SEEDS, branches, call

import ditscope as ds
from ditscope.experiments.attribution import attribution, patch_effect


def metric(output, latents, visit):
    """Odd, and different in every token and channel: a swapped axis shows."""
    weights = torch.linspace(-1, 2, output[0].numel(), dtype=output.dtype).reshape(output[0].shape)
    return (weights * (latents + 0.1 * output).sin()).sum(dim=(1, 2))


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_effects_are_the_derivatives_of_the_metric(opened, name) -> None:
    dit, share, ids = opened(name), 1e-2, [3, 7, 12]
    one_step = {**call(name), "num_inference_steps": 1}
    edit = ds.edits.zero(None)
    found = attribution(dit, PROMPTS[0], SEEDS, metric, edit, **one_step)
    both = [
        patch_effect(dit, PROMPTS[0], SEEDS, metric, ds.edits.scale(None, 1 + change), ids, **one_step)
        for change in (-share, share)
    ]
    expected = (both[0] - both[1])["effect"] / (2 * share)
    assert set(found["branch"].values) == set(branches(name))
    assert found["effect"].notnull().all()
    chosen = found["effect"].sel(channel=ids).transpose(*expected.dims)
    scale = np.abs(chosen).max(["block", "channel"])
    assert (np.abs(chosen - expected) < 2e-2 * scale).all()
    assert np.array_equal(found["value"], both[0]["value"])
