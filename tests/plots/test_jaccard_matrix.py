from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, same_picture, shuffled, words
from figure_data import make_jaccard

import ditscope as ds
from ditscope.plots import jaccard_matrix


def test_the_matrix_and_its_numbers_are_drawn() -> None:
    jaccard = make_jaccard()
    figure = jaccard_matrix(jaccard)
    assert np.array_equal(figure.axes[0].images[0].get_array(), jaccard.values)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    assert figure.axes[0].texts[1].get_text() == ".85"
    assert "Random sets would reach 0.05" in words(figure)


def test_both_sides_are_named_where_they_are_the_same_blocks() -> None:
    jaccard = make_jaccard()
    ticks = [label.get_text() for label in jaccard_matrix(jaccard).axes[0].get_xticklabels()]
    assert ticks == jaccard.block_name.values.tolist()
    others = jaccard.assign_coords(block_other=np.arange(10, 20))
    ticks = [label.get_text() for label in jaccard_matrix(others).axes[0].get_xticklabels()]
    assert ticks == [str(block) for block in range(10, 20)]


@pytest.mark.parametrize("dims", [("block",), ("block_other",), ("block", "block_other")])
def test_the_same_labels_meet_on_the_diagonal(dims) -> None:
    jaccard = make_jaccard()
    # Not symmetric, so that a matrix on its side would be seen.
    jaccard = jaccard.copy(data=np.tril(jaccard.values) + 0.5 * np.triu(jaccard.values, 1))
    assert same_picture(jaccard_matrix(shuffled(jaccard, *dims)), jaccard_matrix(jaccard))
    named = jaccard.drop_vars("block_name").assign_coords(
        block=list("jihgfedcba"), block_other=list("jihgfedcba")
    )
    turned = named.isel(block_other=[3, 1, 0, 2, 4, 9, 8, 7, 6, 5])
    assert same_picture(jaccard_matrix(turned), jaccard_matrix(named))


def test_what_stability_returns_is_drawn_whole(recording) -> None:
    few = recording.isel(sample=slice(0, 6))
    stability = ds.passes.stability(few, across=("block", "sample", "step", "branch"), k=4, permutations=20)
    figure = jaccard_matrix(stability)
    check_readable(figure, labelled=False)
    assert [ax.get_title(loc="left") for ax in figure.axes[:4]] == [
        "between samples",
        "between steps",
        "between branches",
        "between blocks",
    ]
    drawn = [ax.images[0].get_array() for ax in figure.axes[:4]]
    assert np.allclose(drawn[0], stability.jaccard_sample)
    assert np.allclose(drawn[1], stability.jaccard_step.mean("block"))
    assert np.allclose(drawn[2], stability.jaccard_branch.mean("block"))
    assert np.allclose(drawn[3], stability.jaccard_block)
    assert "k = 4" in words(figure)
    assert f"would reach {stability.jaccard_step.attrs['chance']:.2g}" in words(figure)
    one = jaccard_matrix(stability.drop_vars(["jaccard_sample", "jaccard_step", "jaccard_branch"]))
    assert "mean over blocks" not in words(one)
    assert same_picture(jaccard_matrix(shuffled(stability, "sample", "block", "step")), figure)
