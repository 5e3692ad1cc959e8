"""Linear probes, against scikit-learn used by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError

PLANTED, EMPTY = [3, 7], [10, 11, 12]
SETS = {"planted": ChannelSet.of(PLANTED), "empty": ChannelSet.of(EMPTY, control=True)}


@pytest.fixture
def told(make_hidden):
    """Hidden states whose channels 3 and 7 tell a prompt's class and a token's, and the labels."""
    hidden = make_hidden(samples=20, steps=2, branches=1, blocks=2, dtype=np.float32, chunks=None)
    random = np.random.default_rng(4)
    classes = np.repeat(random.permutation(np.arange(10) % 2), 2)  # two seeds of ten prompts
    inside = random.random((20, 36)) < 0.4
    values = hidden.values
    values[..., PLANTED] = random.normal(size=values[..., PLANTED].shape)
    values[..., 3] += 3 * classes[:, None, None, None, None]
    values[..., 7] += 4 * inside[:, None, None, None]
    colours = xr.DataArray(np.array(["red", "blue"])[classes], dims="sample", name="colour")
    return hidden.copy(data=values), colours, xr.DataArray(inside, dims=("sample", "token"), name="inside")


def model():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=1000))


def test_labels_of_samples_are_read_as_scikit_learn_reads_them(told, fake_cache) -> None:
    hidden, colours, _ = told
    cache = fake_cache(hidden.chunk(sample=3, block=1))
    found = passes.probe(cache, colours, SETS, steps=None, regularisation=0.5, shuffles=2, resamples=200)
    assert found["score"].dims == ("label", "selector", "draw", "step", "block", "sample")
    assert found["selector"].values.tolist() == ["planted", "empty", "all"]
    assert found["control"].values.tolist() == [False, True, False]
    groups = np.arange(20) // 2
    for step, block in np.ndindex(2, 2):
        means = hidden.values[:, step, 0, block].astype(np.float64).mean(1)
        for selector, ids in (("planted", PLANTED), ("empty", EMPTY), ("all", list(range(24)))):
            predicted = cross_val_predict(
                model(), means[:, ids], colours.values, groups=groups, cv=GroupKFold(5)
            )
            here = found.sel(label="colour", selector=selector, draw=0).isel(step=step, block=block)
            np.testing.assert_array_equal(here["score"], predicted == colours.values)
            assert float(here["accuracy"]) == pytest.approx((predicted == colours.values).mean())
    planted = found.sel(selector="planted").squeeze()
    assert (planted["accuracy"] == 1).all()
    assert (found["chance"] < 0.8).all()
    assert (planted["lead"] == 0).all()
    own = found["score"].squeeze("draw")
    expected = (own.sel(selector="planted") - own.sel(selector="empty")).mean("sample")
    np.testing.assert_allclose(found["lead"].sel(selector="empty"), expected)


def test_labels_of_tokens_are_read_at_tokens(told) -> None:
    hidden, _, inside = told
    found = passes.probe(hidden, inside, SETS, blocks=1, tokens=36, regularisation=0.5, shuffles=2)
    groups = np.arange(20) // 2
    values = hidden.values[:, -1, 0, 1].astype(np.float64)[..., PLANTED]
    for learned, judged in GroupKFold(5).split(groups, groups=groups):
        fitted = model().fit(values[learned].reshape(-1, 2), inside.values[learned].ravel())
        for sample in judged:
            right, own = fitted.predict(values[sample]) == inside.values[sample], inside.values[sample]
            expected = (right[own].mean() + right[~own].mean()) / 2
            # The order of tokens moves the last bits of the fit.
            assert float(found["score"].sel(selector="planted", sample=sample).squeeze()) == pytest.approx(
                expected
            )
    assert float(found["accuracy"].sel(selector="planted").squeeze()) > 0.95
    assert abs(found["chance"].squeeze() - 0.5).max() < 0.1
    grid = xr.DataArray(inside.values.reshape(20, 6, 6), dims=("sample", "y", "x"))
    again = passes.probe(hidden, grid, SETS, blocks=1, tokens=36, regularisation=0.5, shuffles=2)
    np.testing.assert_array_equal(again["score"], found["score"])
    few = passes.probe(hidden, inside, SETS, blocks=1, tokens=12, shuffles=2)
    assert float(few["accuracy"].sel(selector="planted").squeeze()) > 0.9


def test_the_control_of_tokens_keeps_the_map_of_another_prompt(told) -> None:
    """Where every map is the same, another prompt's is one's own: the control is read as well as the labels."""
    hidden, _, _ = told
    left = np.tile(hidden["x"].values < 3, (20, 1))
    values = hidden.values.copy()
    values[..., 3] = 5.0 * left[:, None, None, None]
    found = passes.probe(
        hidden.copy(data=values),
        xr.DataArray(left, dims=("sample", "token"), name="left"),
        {"planted": ChannelSet.of([3])},
        blocks=0,
        tokens=12,
        shuffles=2,
    )
    assert float(found["chance"].sel(selector="planted").squeeze()) == 1


def test_a_prompt_is_never_both_learned_from_and_judged(told) -> None:
    """Each prompt has a mark of its own: learned by heart it would tell the class; of others it tells nothing."""
    hidden, colours, _ = told
    values = hidden.values.copy()
    values[..., 10] = 50 * (np.arange(20) // 2)[:, None, None, None, None]
    sure = passes.probe(
        hidden.copy(data=values), colours, {"mark": ChannelSet.of([10])}, blocks=0, shuffles=1
    )
    assert float(sure["accuracy"].sel(selector="mark").squeeze()) < 0.8


def test_parts_of_the_image_tell_places(told) -> None:
    hidden, _, _ = told
    values = hidden.values
    left = np.arange(20) // 2 % 2 == 0
    side = hidden["x"].values < 3
    values[..., 3] = 5.0 * (side == left[:, None])[:, None, None, None] + np.random.default_rng(0).normal(
        size=values[..., 3].shape
    )
    places = xr.DataArray(np.where(left, "left", "right"), dims="sample", name="place")
    blind, seeing = (
        passes.probe(hidden, places, {"planted": ChannelSet.of([3])}, blocks=0, cells=cells, shuffles=1)
        for cells in (1, 2)
    )
    assert float(seeing["accuracy"].sel(selector="planted").squeeze()) == 1
    assert float(blind["accuracy"].sel(selector="planted").squeeze()) < 0.8


def test_samples_are_found_by_their_labels(told) -> None:
    hidden, colours, _ = told
    turned = colours.assign_coords(sample=np.arange(20)).isel(sample=slice(None, None, -1))
    one, other = (passes.probe(hidden, each, SETS, blocks=0, shuffles=1) for each in (colours, turned))
    xr.testing.assert_equal(one["score"], other["score"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": xr.DataArray(np.linspace(0, 1, 20), dims="sample")}, "labels float64"),
        ({"labels": xr.DataArray(np.arange(19) % 2, dims="sample")}, r"labels of shape \(19,\)"),
        ({"labels": xr.DataArray(np.zeros(20, int), dims="sample")}, "one class"),
        ({"labels": xr.DataArray([0], dims="sample", coords={"sample": [0]})}, "no label for sample 1"),
        ({"folds": 11}, "10 prompts"),
        ({"folds": 1}, "folds"),
        ({"cells": 9}, "cells=9"),
        ({"sets": {"all": ChannelSet.of([1])}}, "'all'"),
        ({"branch": "uncond"}, "branch"),
    ],
)
def test_bad_input(told, change, words) -> None:
    hidden, colours, _ = told
    with pytest.raises(InputError, match=words):
        passes.probe(hidden, **{"labels": colours, "sets": SETS, **change})


def test_values_that_are_not_finite_are_refused_by_place(told) -> None:
    hidden, colours, _ = told
    hidden[2, 1, 0, 1, 5, 5] = np.nan
    with pytest.raises(InputError, match="step 1 of block 1"):
        passes.probe(hidden, colours, SETS, shuffles=1)
