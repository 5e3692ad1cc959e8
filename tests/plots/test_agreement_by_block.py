from __future__ import annotations

import numpy as np
from figure_checks import check_readable, lines_of, same_picture, shuffled, words

import ditscope as ds
from ditscope.plots import agreement_by_block


def test_what_agreement_returns_is_drawn_with_its_null(recording) -> None:
    found = ds.passes.agreement(recording, recording * 2 + 1, k=3, permutations=20)
    figure = agreement_by_block(found, about={"model": "shapes"})
    check_readable(figure)
    lines = lines_of(figure.axes[0])
    for name in ("jaccard", "spearman"):
        assert np.array_equal(lines[name], found["agreement"].sel(measure=name))
    grey = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(grey.max(), float(found["null_high"].max()))
    assert "Over all blocks: Jaccard index" in words(figure)
    assert same_picture(agreement_by_block(shuffled(found, "block", "measure")), agreement_by_block(found))


def test_another_site_is_named(recording) -> None:
    found = ds.passes.agreement(recording, recording, k=3, permutations=2).assign_attrs(
        second_site="attn_gate"
    )
    assert "The second ranking is of attn_gate" in words(agreement_by_block(found)).replace("\n", " ")


def test_measures_that_coincide_are_both_seen(recording) -> None:
    found = ds.passes.agreement(recording, recording, k=3, permutations=2)
    drawn = {line.get_gid(): line for line in agreement_by_block(found).axes[0].lines}
    order = [line.get_gid() for line in agreement_by_block(found).axes[0].lines]
    assert order.index("jaccard") > order.index("spearman"), "the last drawn lies above"
    for size in ("get_linewidth", "get_markersize"):
        assert getattr(drawn["jaccard"], size)() < getattr(drawn["spearman"], size)()
