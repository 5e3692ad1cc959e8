from __future__ import annotations

import numpy as np
import pytest
from figure_checks import words
from figure_data import make_cells

from ditscope.errors import InputError
from ditscope.plots import grid_effects


def test_lines_and_whiskers_are_the_results() -> None:
    cells = make_cells()
    figure = grid_effects(cells)
    assert len(figure.axes) == cells.sizes["metric"]
    for panel, ax in enumerate(figure.axes):
        drawn = [container for container in ax.containers]
        assert len(drawn) == 4
        expected = cells["mean"].isel(metric=panel, blocks=0, steps=1).values
        np.testing.assert_allclose(drawn[1].lines[0].get_ydata(), expected)
        ends = [segment[:, 1] for segment in drawn[1].lines[2][0].get_segments()]
        np.testing.assert_allclose(
            [low for low, _ in ends], cells["low"].isel(metric=panel, blocks=0, steps=1)
        )
    assert "one block, late" in words(figure)


def test_many_labels_are_thinned() -> None:
    many = make_cells().isel(blocks=0, steps=0, drop=True)
    many = many.isel(channels=np.zeros(57, int)).assign_coords(channels=range(57))
    ticks = grid_effects(many).axes[0].get_xticks()
    assert len(ticks) <= 12
    assert ticks[0] == 0


def test_another_dim_across_and_what_cannot_be_drawn() -> None:
    figure = grid_effects(make_cells(), x="steps")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["early", "late"]
    assert {line[0].get_linestyle() for line in figure.axes[0].containers} == {"None"}
    assert "None" not in {line[0].get_linestyle() for line in grid_effects(make_cells()).axes[0].containers}
    with pytest.raises(InputError, match="one to three others"):
        grid_effects(make_cells(), x="sample")
    with pytest.raises(InputError, match="mean, low, high"):
        grid_effects(make_cells().drop_vars("low"))
