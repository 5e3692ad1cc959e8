"""The distance of latents."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope.errors import InputError
from ditscope.metrics import latent_distance
from ditscope.metrics.metric import METRICS


def test_it_is_the_norm_of_the_difference_by_that_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    latents, reference = (rng.normal(size=(3, 5, 4)).astype(np.float32) for _ in range(2))
    expected = [
        np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel())
        for a, b in zip(latents, reference, strict=True)
    ]
    np.testing.assert_allclose(latent_distance(latents, reference), expected, rtol=1e-6)
    assert latent_distance(reference, reference).tolist() == [0, 0, 0]
    assert np.isnan(latent_distance(reference * 0, reference * 0)).all()


def test_as_a_metric_it_needs_no_images() -> None:
    metric = METRICS["latent_distance"]
    assert (metric.of_images, metric.paired, metric.needs) == (False, True, ("latents", "reference_latents"))
    latents = np.ones((2, 3, 4))
    assert metric(None, latents=2 * latents, reference_latents=latents).tolist() == [1, 1]
    with pytest.raises(InputError, match="no reference_latents for latent_distance"):
        metric(None, latents=latents)


@pytest.mark.parametrize("other", [np.ones((2, 3, 5)), np.ones((2, 3)), np.ones((2, 0, 4))])
def test_other_shapes_are_refused(other) -> None:
    with pytest.raises(InputError, match="two of one shape"):
        latent_distance(other if other.ndim < 3 or 0 in other.shape else np.ones((2, 3, 4)), other)
