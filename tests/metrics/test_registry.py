from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
OTHERS = RANDOM.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


class Scorer:
    """A stand-in that opens nothing."""

    opened = 0

    def score(self, images, prompts, *, convention="cosine"):
        return np.full(len(images), 20.0 if convention == "cosine" else 0.5)

    def image_features(self, images):
        return np.eye(8)[: len(images)]

    def feature_maps(self, images):
        return [np.moveaxis(images.astype(float), -1, 1)]


def test_every_name_resolves_and_runs():
    found = metrics.resolve(metrics.METRICS, clip=lambda: Scorer())
    assert list(found) == list(metrics.METRICS)
    for name, metric in found.items():
        values = metric(IMAGES, reference=OTHERS, prompts=["a", "b"])
        assert values.shape == (2,)
        assert values.dtype == float
        assert metric.name == name
        assert metric.damage in ("higher", "lower", "either")


def test_metrics_name_the_function_they_call():
    found = metrics.resolve(["psnr", "ssim_luminance", "high_frequency_energy"], cutoff=0.1)
    np.testing.assert_array_equal(found["psnr"](IMAGES, reference=OTHERS), metrics.psnr(IMAGES, OTHERS))
    np.testing.assert_array_equal(
        found["ssim_luminance"](IMAGES, reference=OTHERS), metrics.ssim(IMAGES, OTHERS, space="luminance")
    )
    np.testing.assert_array_equal(
        found["high_frequency_energy"](IMAGES), metrics.high_frequency_energy(IMAGES, cutoff=0.1)
    )
    assert "0.1" in found["high_frequency_energy"].label


def test_damage_follows_the_values():
    worse = np.clip(IMAGES + RANDOM.normal(0, 60, IMAGES.shape), 0, 255).astype(np.uint8)
    better = np.clip(IMAGES + RANDOM.normal(0, 5, IMAGES.shape), 0, 255).astype(np.uint8)
    for metric in metrics.resolve(
        ["psnr", "ssim", "mean_abs_difference", "lpips"], clip=lambda: Scorer()
    ).values():
        change = metric(worse, reference=IMAGES) - metric(better, reference=IMAGES)
        assert ((change > 0) == (metric.damage == "higher")).all()
        assert metric.better != metric.damage


def test_clip_is_opened_only_when_needed():
    def refuse():
        raise AssertionError("opened")

    metrics.resolve(["psnr", "ssim"], clip=refuse)
    metrics.resolve(["lpips"], features=lambda x: x, clip=refuse)
    with pytest.raises(AssertionError, match="opened"):
        metrics.resolve(["lpips"], clip=refuse)


def test_lpips_says_what_it_is():
    assert "CLIP" in metrics.resolve(["lpips"], clip=lambda: Scorer())["lpips"].label
    assert "given" in metrics.resolve(["lpips"], features=lambda x: x)["lpips"].label


def test_own_metrics():
    own = metrics.Metric("redness", "mean red", "", False, "either", lambda i, r, p: i[..., 0].mean((1, 2)))
    found = metrics.resolve(["psnr", own])
    np.testing.assert_allclose(found["redness"](IMAGES), IMAGES[..., 0].mean((1, 2)))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["fid"], "'fid'.*'psnr'"),
        ([], "no metrics"),
        (["psnr", "psnr"], "twice"),
        (["clip_score"], "clip="),
        (["lpips"], "features="),
    ],
)
def test_bad_names(names, words):
    with pytest.raises(InputError, match=words):
        metrics.resolve(names)


def test_missing_inputs_are_named():
    found = metrics.resolve(["psnr", "clip_score"], clip=lambda: Scorer())
    with pytest.raises(InputError, match="reference="):
        found["psnr"](IMAGES)
    with pytest.raises(InputError, match="prompts="):
        found["clip_score"](IMAGES)
    with pytest.raises(InputError, match="Stack"):
        found["psnr"](IMAGES[0], reference=OTHERS[0])
