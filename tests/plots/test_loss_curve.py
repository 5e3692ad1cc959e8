from __future__ import annotations

from figure_data import make_rows

from ditscope.plots import loss_curve


def test_the_later_of_two_rows_counts() -> None:
    rows = make_rows()
    ax = loss_curve([*rows, {**rows[3], "loss": 0.5}], columns=["loss"], smooth=1).axes[0]
    line = ax.lines[0]
    assert len(line.get_xdata()) == len(rows)
    assert line.get_ydata()[3] == 0.5
    assert list(line.get_xdata()) == sorted(line.get_xdata())
