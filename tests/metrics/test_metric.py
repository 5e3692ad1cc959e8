from __future__ import annotations

import numpy as np
import pytest
from pairs import IMAGES, OTHERS

from ditscope import metrics
from ditscope.errors import InputError

# LPIPS' weights are not everywhere.
RUNNING = [name for name, metric in metrics.METRICS.items() if name != "lpips" and metric.of_images]
RANDOM = np.random.default_rng(0)


class Scorer:
    """A stand-in that opens nothing."""

    def score(self, images, prompts, *, convention="cosine"):
        return np.full(len(images), 20.0 if convention == "cosine" else 0.5)

    def image_features(self, images):
        return np.eye(8)[: len(images)]

    def feature_maps(self, images):
        return [np.moveaxis(images.astype(float), -1, 1)]


def test_every_name_resolves_and_runs():
    assert {"clip_score", "feature_distance", "lpips", "psnr", "ssim_luminance"} <= set(metrics.METRICS)
    found = metrics.resolve(RUNNING, clip=Scorer)
    assert list(found) == RUNNING
    for name, metric in found.items():
        values = metric(IMAGES, reference=OTHERS, prompts=["a", "b", "c"])
        assert values.shape == (3,)
        assert values.dtype == float
        assert metric.name == name


def test_metrics_name_the_function_they_call():
    for name in ("psnr", "ssim_luminance"):
        metric = metrics.METRICS[name]
        expected = getattr(metrics, name)(IMAGES, OTHERS)
        np.testing.assert_array_equal(metric(IMAGES, reference=OTHERS), expected)
        assert metric.paired
    energy = metrics.METRICS["high_frequency_energy"]
    np.testing.assert_array_equal(energy(IMAGES, reference=OTHERS), metrics.high_frequency_energy(IMAGES))
    assert not energy.paired
    assert metrics.METRICS["clip_score"].needs == ("prompts", "scorer")


def test_damage_follows_the_values():
    worse = np.clip(IMAGES + RANDOM.normal(0, 60, IMAGES.shape), 0, 255).astype(np.uint8)
    better = np.clip(IMAGES + RANDOM.normal(0, 5, IMAGES.shape), 0, 255).astype(np.uint8)
    names = ["psnr", "ssim", "mean_abs_difference", "feature_distance"]
    for metric in metrics.resolve(names, clip=Scorer).values():
        change = metric(worse, reference=IMAGES) - metric(better, reference=IMAGES)
        assert ((change > 0) == (metric.damage == "higher")).all()
        assert metric.better != metric.damage


def test_clip_is_opened_once_and_only_when_needed():
    opened = []

    def open_clip():
        opened.append(Scorer())
        return opened[0]

    metrics.resolve(["psnr", "lpips"], clip=open_clip)
    assert not opened
    metrics.resolve(["feature_distance", "clip_score"], clip=open_clip)
    assert len(opened) == 1


def test_own_metrics_by_object_and_by_name():
    own = metrics.Metric("blueness", "mean blue", lambda images: images[..., 2].mean((1, 2)))
    np.testing.assert_allclose(metrics.resolve(own)["blueness"](IMAGES), IMAGES[..., 2].mean((1, 2)))
    with pytest.raises(InputError, match="'blueness'"):
        metrics.resolve("blueness")
    metrics.register(own)
    again = metrics.register(
        metrics.Metric("blueness", "mean blue again", own.compute)
    )  # a notebook's cell, run twice
    assert metrics.resolve("blueness") == {"blueness": again}


def test_a_name_that_another_module_has_is_refused():
    with pytest.raises(InputError, match=r"'psnr'.*ditscope\.metrics\.psnr has one"):

        @metrics.metric("mine")
        def psnr(images):
            return images

    assert metrics.METRICS["psnr"].unit == "dB"


def test_a_metric_that_needs_what_a_comparison_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"'ref'.*'reference', 'prompts', 'scorer'"):
        metrics.Metric("mine", "mine", lambda images, ref: images)
    with pytest.raises(InputError, match="damage 'worse'"):
        metrics.Metric("mine", "mine", lambda images: images, damage="worse")
    assert metrics.Metric("mine", "mine", lambda images, ref=None: images).needs == ()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["fid"], "'fid'.*'psnr'"),
        ([], "no metrics"),
        (["psnr", "psnr"], "twice"),
        (["clip_score"], "clip="),
        (["feature_distance"], "clip="),
    ],
)
def test_bad_names(names, words):
    with pytest.raises(InputError, match=words):
        metrics.resolve(names)


def test_missing_inputs_are_named():
    found = metrics.resolve(["psnr", "clip_score"], clip=Scorer)
    with pytest.raises(InputError, match="reference="):
        found["psnr"](IMAGES)
    with pytest.raises(InputError, match="prompts="):
        found["clip_score"](IMAGES)
    with pytest.raises(InputError, match="Stack"):
        found["psnr"](IMAGES[0], reference=OTHERS[0])


@pytest.mark.parametrize("compute", [lambda images: images.mean(), lambda images: images.mean((1, 2))])
def test_a_function_that_gives_no_number_for_each_image_is_refused(compute):
    with pytest.raises(InputError, match="one number for each of 3 images"):
        metrics.Metric("odd", "odd", compute)(IMAGES)


def test_a_metric_may_be_passed_as_its_function():
    assert metrics.resolve([metrics.psnr]) == metrics.resolve("psnr")
