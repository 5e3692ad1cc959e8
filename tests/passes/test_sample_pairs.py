from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import t as student

from ditscope.errors import InputError
from ditscope.passes.sample_pairs import encoded_texts, pair_interval, prompt_clusters, sample_pairs


def labelled(prompts: str, seeds: list[int], **more: str) -> xr.Dataset:
    """Samples by a letter for each prompt."""
    letters = {"prompt": prompts, **more}
    labels = {name: ("sample", list(each)) for name, each in letters.items()}
    return xr.Dataset({"mean_abs": ("sample", np.zeros(len(seeds)))}, {**labels, "seed": ("sample", seeds)})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sample", {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}),
        ("prompt", {(0, 2), (1, 3)}),  # of equal seeds
        ("seed", {(0, 1), (2, 3)}),
    ],
)
def test_pairs_are_those_that_differ_in_what_is_compared(name, expected):
    pairs = sample_pairs(labelled("aabb", [0, 1, 0, 1]), name)
    assert set(zip(*map(np.ndarray.tolist, np.nonzero(pairs)), strict=True)) == expected


def test_prompts_are_compared_at_other_seeds_where_no_seeds_are_equal():
    assert np.argwhere(sample_pairs(labelled("ab", [0, 1]), "prompt")).tolist() == [[0, 1]]
    with pytest.raises(InputError, match="no pair of samples that differ in seed"):
        sample_pairs(labelled("ab", [0, 1]), "seed")


def test_prompts_that_are_cut_to_one_text_are_one():
    cut = labelled("abc", [0, 0, 0], encoded_text="xxy")
    assert encoded_texts(cut).tolist() == ["x", "x", "y"]
    assert np.argwhere(sample_pairs(cut, "sample")).tolist() == [[0, 2], [1, 2]]
    assert prompt_clusters(cut)[1].tolist() == [0, 0, 1]


def test_pair_intervals_leave_one_prompt_out():
    random = np.random.default_rng(0)
    codes = np.array([0, 0, 0, 1, 1, 2, 3])
    matrix, pairs = random.random((7, 7)), np.triu(random.random((7, 7)) < 0.8, 1)
    mean, low, high = pair_interval(matrix[None], pairs, codes, 0.9)
    left_out = [
        np.mean([matrix[a, b] for a, b in np.argwhere(pairs) if gone not in (codes[a], codes[b])])
        for gone in range(4)
    ]
    error = np.sqrt(3 / 4 * np.square(np.array(left_out) - matrix[pairs].mean()).sum())
    np.testing.assert_allclose([mean[0], (low[0] + high[0]) / 2], matrix[pairs].mean())
    np.testing.assert_allclose(high[0] - mean[0], student.ppf(0.95, 3) * error)
