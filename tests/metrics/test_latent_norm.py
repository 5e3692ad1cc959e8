from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError

LATENTS = np.random.default_rng(0).normal(size=(3, 20, 16)).astype(np.float32)


def test_equals_the_norm_over_the_root_of_the_number():
    expected = np.linalg.norm(LATENTS.astype(np.float64).reshape(3, -1), axis=1) / np.sqrt(320)
    np.testing.assert_allclose(metrics.latent_norm(LATENTS), expected, rtol=1e-12)
    assert metrics.latent_norm(2 * np.ones((1, 4, 2), np.float32)).tolist() == [2]


def test_a_metric_of_latents_needs_no_images():
    norm = metrics.METRICS["latent_norm"]
    assert norm.needs == ("latents",)
    np.testing.assert_array_equal(norm(None, latents=LATENTS), metrics.latent_norm(LATENTS))
    with pytest.raises(InputError, match="no latents for latent_norm"):
        norm(None)
    with pytest.raises(InputError, match=r"\[sample, token, latent channel\]"):
        metrics.latent_norm(LATENTS[0])


def test_one_of_pairs_of_latents_is_paired():
    gap = metrics.Metric(
        "gap", "gap", lambda latents, reference_latents: abs(latents - reference_latents).max((1, 2))
    )
    assert gap.paired
    assert gap(None, latents=LATENTS, reference_latents=LATENTS).tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="one number for each of 3 samples"):
        metrics.Metric("mean", "mean", lambda latents: latents.mean())(None, latents=LATENTS)
