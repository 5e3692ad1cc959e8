from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, lines_of, same_picture, shuffled

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import registers_by_block


def test_shares_and_ratios_are_drawn(recording) -> None:
    ranking = ds.passes.rank_channels(recording)
    made = ds.passes.registers(recording, ranking.top(3), ratio=1.2)
    with pytest.raises(InputError, match="Average over the other dims"):
        registers_by_block(made)
    found = (
        made.drop_vars("outlier")
        .mean([d for d in made["spread"].dims if d != "block"], keep_attrs=True)
        .compute()
    )
    figure = registers_by_block(found, about={"model": "shapes"})
    check_readable(figure)
    for ax, names in zip(
        figure.axes, (("massive_share", "outlier_share"), ("selectivity", "elevation")), strict=False
    ):
        lines = lines_of(ax)
        for name in names:
            np.testing.assert_allclose(lines[name], found[name])
    assert same_picture(registers_by_block(shuffled(found, "block")), registers_by_block(found))


def test_no_outliers_leave_the_ratios_empty(recording) -> None:
    made = ds.passes.registers(recording, ds.channels.ChannelSet.of([0]), ratio=1e6).drop_vars("outlier")
    check_readable(registers_by_block(made.mean([d for d in made["spread"].dims if d != "block"]).compute()))
