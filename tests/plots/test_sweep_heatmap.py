from __future__ import annotations

import numpy as np
import pytest
from figure_checks import check_readable, drawn, same_picture, shuffled, words
from figure_data import make_sweep
from matplotlib.patches import Rectangle

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import sweep_heatmap


def hatched(ax) -> set[tuple[int, int]]:
    """(step, block) of the cells that are hatched."""
    return {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5))
        for patch in ax.patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    }


def test_every_cell_has_its_mean_and_is_hatched_where_the_interval_holds_0() -> None:
    result = make_sweep()
    figure = sweep_heatmap(result)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["massive", "energy-matched random"]
    for edit, ax in enumerate(figure.axes[:2]):
        cells = result.isel(metric=0, edit=edit).transpose("step", "block", ...)
        assert np.array_equal(ax.images[0].get_array(), cells["mean"])
        holds = (cells["low"] <= 0) & (cells["high"] >= 0)
        assert hatched(ax) == set(map(tuple, np.argwhere(holds.values)))
        assert ax.images[0].get_clim() == (result["mean"].min(), -result["mean"].min())
    assert 0 < len(hatched(figure.axes[0])) < 80
    assert "change in CLIP score (points)" in words(figure)
    assert figure.axes[0].images[0].origin == "lower"
    assert same_picture(sweep_heatmap(shuffled(result, "block", "step")), figure)


def test_other_dims_and_metrics_of_one_sign() -> None:
    result = abs(make_sweep()).rename(block="k").drop_vars("block_name")
    figure = sweep_heatmap(result, "clip_score", x="k")
    check_readable(figure)
    assert figure.axes[0].get_xlabel() == "k"
    assert figure.axes[0].images[0].get_clim() == (0, result["mean"].max())


def test_what_has_no_number_is_grey_and_what_has_no_interval_is_hatched() -> None:
    result = make_sweep()
    result["mean"][0, 3, 2, 0] = np.inf
    result["low"][0, 0, 0, 0] = result["high"][0, 0, 0, 0] = np.nan
    result["low"][0, 1, 0, 0] = result["high"][0, 1, 0, 0] = 1.0
    figure = sweep_heatmap(result)
    assert figure.axes[0].images[0].get_array().mask.nonzero() == (2, 3)
    assert (0, 0) in hatched(figure.axes[0])
    assert not {(2, 3), (0, 1)} & hatched(figure.axes[0])
    assert "Grey: no finite number." in words(drawn(figure))


def test_what_sweep_returns_is_drawn_whole(dit) -> None:
    grid = ds.grid(
        lambda block, step: {"zero": ds.edits.zero([3], blocks=block, steps=step)}, block=[1, 8], step=[1]
    )
    call = {"num_inference_steps": 2, "height": 32, "width": 48, "max_sequence_length": 24}
    result = ds.sweep(dit, ["a", "b"], 0, grid, ["latent_distance"], resamples=20, **call)
    figure = sweep_heatmap(result)
    check_readable(figure)
    assert np.allclose(figure.axes[0].images[0].get_array(), result["mean"].values[0, :, :, 0].T)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda result: result.drop_vars("low"), "low"),
        (lambda result: result.expand_dims(k=2), "Select or average k first"),
        (lambda result: result.isel(step=0), "Add the missing dims"),
    ],
)
def test_what_is_no_block_by_step_is_refused(spoil, words) -> None:
    with pytest.raises(InputError, match=words):
        sweep_heatmap(spoil(make_sweep()))
    with pytest.raises(InputError, match="metric 'psnr'"):
        sweep_heatmap(make_sweep(), "psnr")
