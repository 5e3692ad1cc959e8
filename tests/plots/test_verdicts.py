from __future__ import annotations

import numpy as np
import pytest
from figure_checks import drawn, words

from ditscope.errors import InputError
from ditscope.intervals import Interval
from ditscope.plots import verdicts
from ditscope.plots._style import DISTINCT, INK
from ditscope.studies import Quantity, Rule
from ditscope.studies.claim_report import decided_quantities


def quantities(shift: float = 0.0) -> list[dict]:
    rule = Rule(
        (
            Quantity.below(
                "less", "PSNR, massive less random of equal edit norm", -1.0, refuted_above=0.0, unit="dB"
            ),
            Quantity.within("same", "change of right answers", -0.1, 0.1),
        )
    )
    ends = {"less": (-4.0 + shift, -2.0 + shift), "same": (-0.05, 0.3)}
    measured = {
        name: Interval(*map(np.asarray, ((low + high) / 2, low, high))) for name, (low, high) in ends.items()
    }
    return list(rule.decide(measured).quantities)


def test_intervals_and_ranges_are_those_of_the_rule() -> None:
    figure = verdicts(decided_quantities({"shapes": quantities()}))
    first, second = figure.axes
    assert [line.get_xdata()[0] for line in first.lines] == [-4.0, -3.0]
    assert first.lines[0].get_color() == INK
    ends = second.patches[0].get_x(), second.patches[0].get_x() + second.patches[0].get_width()
    assert ends == pytest.approx((-0.1, 0.1))
    assert len(second.patches) == 3  # within, and beyond on both sides
    assert len(first.patches) == 2
    assert "supported" in words(figure)
    assert "undecided" in words(figure)


def test_several_results_lie_beside_each_other_in_colours() -> None:
    figure = verdicts(decided_quantities({"a": quantities(), "b": quantities(3.5)}))
    lines = figure.axes[0].lines[::2]
    assert [line.get_color() for line in lines] == list(DISTINCT[:2])
    assert "supported / undecided" in words(figure)


def test_a_quantity_without_an_interval_has_its_ranges_alone() -> None:
    without = [{**each, "mean": None, "low": None, "high": None} for each in quantities()]
    figure = drawn(verdicts(decided_quantities({"a": without})))
    assert [len(ax.patches) for ax in figure.axes] == [2, 3]


def test_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="refutes"):
        verdicts(decided_quantities({"a": quantities()}).drop_vars("refutes"))
