from __future__ import annotations

import numpy as np
import pytest
from figure_checks import bars_of, check_readable, drawn, same_picture, shuffled, words
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.plots import ablation, image_grid
from ditscope.plots._style import CONTROL, DISTINCT


def colours_of(ax) -> list[str]:
    return [
        to_hex(bar.get_edgecolor() if bar.get_linewidth() == 1.2 else bar.get_facecolor())
        for bar in ax.patches
    ]


def test_bars_and_whiskers_equal_the_comparison(summary) -> None:
    figure = ablation(summary)
    assert np.allclose(bars_of(figure.axes[0])[:, 1], summary.energy_removed * 100)
    for index, ax in enumerate(figure.axes[1:5]):
        ends = bars_of(ax)
        mean = summary["mean"].values[index]
        assert np.allclose(np.where(mean < 0, ends.min(1), ends.max(1)), mean)
        whiskers = next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments()
        assert np.allclose([w[0][0] for w in whiskers], summary.low.values[index])
        assert np.allclose([w[1][0] for w in whiskers], summary.high.values[index])
    assert "dB\nhigher is better" in figure.axes[1].get_xlabel()
    assert "lower is better" in figure.axes[4].get_xlabel()


@pytest.mark.parametrize("energy", [-0.4, -3.0, -1e-4])
def test_energy_that_an_edit_added_is_inside_the_axis(summary, energy: float) -> None:
    summary["energy_removed"][1] = energy
    figure = drawn(ablation(summary))
    ax = figure.axes[0]
    low, high = ax.get_xlim()
    assert low < 100 * energy
    assert high > 61
    assert any(np.allclose(line.get_xdata(), 0) for line in ax.lines), "no zero line"
    value = ax.texts[1]
    assert value.get_text().startswith("\N{MINUS SIGN}")
    renderer = figure.canvas.get_renderer()
    assert value.get_window_extent(renderer).x0 > ax.bbox.x0
    assert value.get_window_extent(renderer).x1 < ax.transData.transform((100 * energy, 1))[0]
    assert "added by the edit" in words(figure)
    check_readable(figure)


def test_only_what_is_flagged_as_a_control_is_grey(summary) -> None:
    summary = summary.assign_coords(
        edit=["top", "denoise", "mean colour", "random", "nonesuch", "energy"],
        control=("edit", [False, False, True, False, False, True]),
    )
    figure = ablation(summary)
    grey = [False, False, True, False, False, True]
    assert [colour in CONTROL for colour in colours_of(figure.axes[0])] == grey
    assert [colour in CONTROL for colour in colours_of(figure.axes[1])] == grey
    assert colours_of(figure.axes[1])[0] == DISTINCT[0]
    assert "Grey bars are controls." in words(figure)
    without = ablation(summary.drop_vars("control"))
    assert not set(colours_of(without.axes[1])) & set(CONTROL)
    assert "Grey" not in words(without)


def test_an_image_that_did_not_change_is_said_in_words(summary) -> None:
    summary["mean"][0, 5] = np.inf
    summary["energy_removed"][2] = np.nan
    text = words(drawn(ablation(summary)))
    assert "∞" in text
    assert "no value" in text


def test_dims_are_matched_by_name(summary) -> None:
    turned = summary.assign(mean=summary["mean"].T, high=summary["high"].T)
    assert same_picture(ablation(turned), ablation(summary))


def test_what_compare_returns_is_drawn_whole(dit, prompts) -> None:
    top = ChannelSet.of([1, 2, 3])
    edits = {"zero": ds.edits.zero(top), "mean": ds.edits.mean(top)}
    comparison = ds.compare(
        dit,
        prompts,
        0,
        edits,
        ["psnr", "ssim"],
        num_inference_steps=1,
    )
    figure = ablation(comparison)
    check_readable(figure)
    energy = bars_of(figure.axes[0])
    removed = 100 * comparison.energy_removed
    assert np.allclose(np.where(removed < 0, energy.min(1), energy.max(1)), removed)
    pictures = image_grid(comparison, captions=comparison["value"].sel(metric="psnr", draw=0)).axes
    assert np.array_equal(pictures[3].images[0].get_array(), comparison.baseline_images.values[1])
    assert np.array_equal(pictures[5].images[0].get_array(), comparison.images.values[1, 0, 1])
    assert pictures[5].get_xlabel() == f"{float(comparison.value.sel(metric='psnr')[1, 0, 1]):.3g}"
    assert same_picture(ablation(shuffled(comparison, "sample")), figure)
