from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, drawn, words

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import rounding_error


@pytest.fixture(scope="module")
def errors(recording):
    sets = {
        "massive": ds.channels.ChannelSet.of([12, 13, 14, 15]),
        "random": ds.channels.ChannelSet.of([0, 1, 2, 3], control=True),
    }
    few = recording.isel(sample=slice(0, 3))
    return ds.passes.quantization_error(few, sets, apart="mx9").assign_attrs(model="shapes")


def test_marks_are_the_means_of_the_pass(errors) -> None:
    figure = drawn(rounding_error(errors))
    check_readable(figure)
    for ax, name in zip(figure.axes, ("sqnr", "rest_sqnr"), strict=True):
        marks = {line.get_gid(): line.get_xdata() for line in ax.lines if line.get_gid()}
        assert set(marks) == {"nothing apart", "massive apart", "random apart"}
        means = errors[name].mean(("draw", "sample", "step", "branch", "block"))
        for selector in ("massive", "random"):
            expected = means.sel(selector=selector, kept="apart")
            np.testing.assert_allclose(marks[f"{selector} apart"], expected)
        np.testing.assert_allclose(marks["nothing apart"], means.sel(selector="massive", kept="together"))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == errors["scheme"].values.tolist()
    assert "mx9" in words(figure)


def test_something_else_is_refused(errors) -> None:
    with pytest.raises(InputError, match="quantization_error"):
        rounding_error(errors.drop_vars("sqnr"))
