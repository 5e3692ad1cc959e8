from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, drawn, lines_of, same_picture, shuffled, words
from figure_data import make_iou

import ditscope as ds
from ditscope.plots import iou_by_block
from ditscope.plots._style import CONTROL, DISTINCT


def test_lines_and_bands_equal_the_summary() -> None:
    iou = make_iou()
    figure = iou_by_block(iou)
    for panel, rule in enumerate(("signed", "oracle")):
        curves = lines_of(figure.axes[panel])
        bands = [c.get_paths()[0].get_extents() for c in figure.axes[panel].collections]
        for selector in iou.selector.values:
            assert np.array_equal(curves[selector], iou.iou.sel({"polarity": rule, "selector": selector}))
        # Drawn last to first, so that what is tested lies above its controls.
        first = bands[-1]
        assert first.y0 == pytest.approx(float(iou.iou_low.sel(polarity=rule)[0].min()))
        assert first.y1 == pytest.approx(float(iou.iou_high.sel(polarity=rule)[0].max()))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == iou.selector.values.tolist()


def test_only_what_is_flagged_as_a_control_is_grey() -> None:
    iou = make_iou(polarity=False).assign_coords(
        control=("selector", [False, True, False, False, False, False])
    )
    lines = {line.get_gid(): line.get_color() for line in iou_by_block(iou).axes[0].lines if line.get_gid()}
    assert lines["std-ranked 12"] == CONTROL[0]
    assert [lines[name] for name in ("top 12", "PCA, all channels", "middle 12")] == list(DISTINCT[:3])
    without = iou_by_block(iou.drop_vars("control"))
    assert not {line.get_color() for line in without.axes[0].lines if line.get_gid()} & set(CONTROL)
    assert "Grey" not in words(without)


def test_blocks_are_drawn_in_execution_order_and_dims_by_name() -> None:
    iou = make_iou()
    assert same_picture(iou_by_block(shuffled(iou, "block")), iou_by_block(iou))


def test_what_mask_summary_returns_is_drawn_whole(recording) -> None:
    few = recording.isel(sample=slice(0, 6))
    ranking = ds.passes.rank_channels(few)
    reference = np.repeat([[[False] * 3 + [True] * 3] * 6], 6, axis=0)
    sets = {"top": ranking.top(4), "random": ranking.random(4, 2)}
    summary = ds.passes.mask_summary(ds.passes.mask_study(few, sets, reference))
    figure = drawn(iou_by_block(summary, chance=0.5))
    check_readable(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["top", "random", "pca"]
    assert np.array_equal(lines_of(figure.axes[1])["top"], summary.iou.sel(polarity="oracle", selector="top"))


def test_many_long_names_stay_within_the_figure() -> None:
    names = [
        "larger (the paper's)",
        "larger magnitude",
        "least of it on the border",
        "least of the border",
        "smaller",
    ]
    iou = make_iou().isel(selector=[0, 1, 2, 3, 4, 5, 0])
    named = iou.assign_coords(selector=[*names, "larger, blocks vote", "least of the border, blocks vote"])
    check_readable(drawn(iou_by_block(named.drop_vars("control", errors="ignore"))))
