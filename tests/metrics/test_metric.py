from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pairs import IMAGES, OTHERS

from ditscope import metrics
from ditscope.errors import InputError

# Those whose inputs are images of any prompt, and whose models are at hand.
RUNNING = [name for name, metric in metrics.METRICS.items() if metric.opens is None and metric.least == 1]
RUNNING = [name for name in RUNNING if metrics.METRICS[name].of_images]
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
    for metric in metrics.METRICS.values():
        assert metric.label
        assert metric.over == ("set" if metric.name in ("cmmd", "fid") else "image")


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


def blueness(images):  # not inside the test: what is registered has to be picklable
    return images[..., 2].mean((1, 2))


def test_own_metrics_by_object_and_by_name():
    own = metrics.Metric("blueness", "mean blue", blueness)
    np.testing.assert_allclose(metrics.resolve(own)["blueness"](IMAGES), IMAGES[..., 2].mean((1, 2)))
    with pytest.raises(InputError, match="'blueness'"):
        metrics.resolve("blueness")
    metrics.register(own)
    again = metrics.register(
        metrics.Metric("blueness", "mean blue again", own.compute)
    )  # a notebook's cell, run twice
    assert metrics.resolve("blueness") == {"blueness": again}


def test_a_function_that_is_no_metric_says_how_to_make_one():
    with pytest.raises(InputError, match=r"the function mine as a metric.*Pass ds\.metrics\.Metric\('mine'"):

        def mine(images):
            return images

        metrics.resolve(["psnr", mine])
    assert list(metrics.resolve([metrics.psnr])) == ["psnr"]


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
        (["beauty"], "'beauty'.*'psnr'"),
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


def test_options_are_what_has_a_default_and_become_part_of_the_name():
    assert metrics.METRICS["ssim"].options == {"space": "rgb"}
    luminance = metrics.METRICS["ssim"].with_options(space="luminance")
    assert luminance.name == "ssim(space='luminance')"
    assert luminance.label == "SSIM (space='luminance')"
    assert luminance.options == {"space": "luminance"}
    assert (luminance.needs, luminance.damage) == (("reference",), "lower")
    found = metrics.resolve(["ssim", luminance])
    np.testing.assert_array_equal(
        found[luminance.name](IMAGES, reference=OTHERS), metrics.ssim_luminance(IMAGES, OTHERS)
    )
    with pytest.raises(InputError, match="option of ssim 'colour'; expected one of 'space'"):
        metrics.METRICS["ssim"].with_options(colour="rgb")


def test_opening_is_by_the_options_and_the_prompts():
    asked = []
    own = metrics.Metric(
        "own",
        "own",
        lambda images, *, model="small", size=3: images[:, 0, 0, 0],
        opens=lambda prompts, model: asked.append((model, prompts)),
    )
    metrics.resolve(own)["own"](IMAGES)
    assert not asked
    own.open(["a"])
    own.with_options(model="large").open(["b"])
    assert asked == [("small", ["a"]), ("large", ["b"])]
    metrics.METRICS["psnr"].open(["a"])


SPREAD = metrics.Metric(
    "spread",
    "gap of means",
    lambda images: images.mean((1, 2)),
    damage="higher",
    distance=lambda one, other: abs(one.mean(0) - other.mean(0)).sum(),
    least=3,
)


def test_a_metric_over_a_set_gives_one_number_from_features():
    expected = abs((IMAGES.astype(float) - OTHERS).mean((0, 1, 2))).sum()
    assert SPREAD(IMAGES, reference=OTHERS) == pytest.approx(expected)
    np.testing.assert_allclose(SPREAD.features(IMAGES), IMAGES.mean((1, 2)))
    assert (SPREAD.over, SPREAD.paired, SPREAD.needs) == ("set", True, ())
    with pytest.raises(InputError, match="2 images for spread; expected at least 3"):
        SPREAD(IMAGES[:2], reference=OTHERS)
    with pytest.raises(InputError, match="no reference for spread"):
        SPREAD(IMAGES)
    with pytest.raises(InputError, match="one row of features for each of 3 images"):
        replace(SPREAD, compute=lambda images: images.mean((1, 2, 3))).features(IMAGES)
