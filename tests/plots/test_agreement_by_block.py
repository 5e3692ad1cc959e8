from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, lines_of, same_picture, shuffled

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import agreement_by_block


@pytest.fixture(scope="module")
def pair(recording):
    few = recording.isel(sample=slice(0, 4))
    noisy = few + np.random.default_rng(0).normal(0, 2, few.shape).astype("float32")
    return ds.passes.agreement(few, noisy.assign_attrs(few.attrs), k=4, permutations=20, resamples=100)


def test_what_agreement_returns_is_drawn(pair) -> None:
    figure = agreement_by_block(pair)
    check_readable(figure)
    for ax, measure in zip(figure.axes, ("jaccard", "spearman"), strict=True):
        assert np.array_equal(lines_of(ax)[measure], pair["agreement"].sel(measure=measure))
        band = ax.collections[0].get_paths()[0].get_extents()
        assert band.y0 == pytest.approx(float(pair["low"].sel(measure=measure).min()))
        assert band.y1 == pytest.approx(float(pair["high"].sel(measure=measure).max()))
    chance = [line for line in figure.axes[0].lines if line.get_gid() is None]
    assert chance[0].get_ydata()[0] == pair.attrs["chance"]
    assert len([line for line in figure.axes[1].lines if line.get_gid() is None]) == 0


def test_blocks_are_drawn_in_execution_order(pair) -> None:
    assert same_picture(agreement_by_block(shuffled(pair, "block")), agreement_by_block(pair))


def test_what_another_pass_returns_is_refused(pair) -> None:
    with pytest.raises(InputError, match="what agreement returns"):
        agreement_by_block(pair.drop_vars("low"))
