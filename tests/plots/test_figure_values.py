"""What is drawn is what was given, read back from the artists."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from figure_checks import drawn, words
from figure_data import MASSIVE, disc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.container import BarContainer

from ditscope import plots
from ditscope.plots.axes import number
from ditscope.plots.mask_grid import borders
from ditscope.plots.scores import over_median
from ditscope.plots.style import CONTROL, DISTINCT, looks
from ditscope.plots.text import MINUS, width, wrap


def mesh_of(figure) -> np.ndarray:
    return next(c for ax in figure.axes for c in ax.collections if isinstance(c, QuadMesh)).get_array()


def lines_of(ax) -> dict[str, np.ndarray]:
    return {line.get_gid(): np.asarray(line.get_ydata()) for line in ax.lines if line.get_gid()}


def test_magnitude_by_rank_sorts_each_block(scores) -> None:
    mesh = mesh_of(plots.channel_magnitude(scores))
    expected = np.sort(scores.values.astype(float), axis=1)[:, ::-1]
    shown = mesh.filled(np.nan)
    assert np.allclose(shown[:, :100], expected[:, :100])  # the tail may be clipped to the colour scale


def test_magnitude_by_channel_keeps_ids_and_names_the_leaders(scores) -> None:
    figure = drawn(plots.channel_magnitude(scores, by="channel"))
    mesh = mesh_of(figure)
    assert np.allclose(mesh[:, MASSIVE[0]], scores.values[:, MASSIVE[0]])
    top = figure.axes[0].child_axes[0]
    assert [label.get_text() for label in top.get_xticklabels()] == [str(channel) for channel in MASSIVE]


def test_magnitude_ratio_is_largest_over_median(scores) -> None:
    right = plots.channel_magnitude(scores).axes[1]
    dots = next(line for line in right.lines if line.get_label() == "largest over median")
    expected = scores.values.max(axis=1) / np.median(scores.values, axis=1)
    assert np.allclose(dots.get_xdata(), expected, rtol=1e-5)


def test_magnitude_wider_than_the_page_keeps_every_peak() -> None:
    scores = xr.DataArray(np.full((2, 3072), 0.5), dims=("block", "channel"))
    scores[0, 1446], scores[1, 3071] = 60.0, 50.0
    mesh = mesh_of(plots.channel_magnitude(scores, by="channel"))
    assert mesh.shape[1] < 700
    assert mesh[0].max() == 60.0
    assert mesh[1].max() == 50.0


def test_channels_that_are_not_finite_are_counted_and_in_no_ratio(scores) -> None:
    broken = scores.copy(deep=True)
    broken[0, 9], broken[3] = np.inf, np.nan
    figure = drawn(plots.channel_magnitude(broken))
    assert "129 values that are not finite" in words(figure)
    dots = next(line for line in figure.axes[1].lines if line.get_label() == "largest over median")
    ratio = np.asarray(dots.get_xdata(), dtype=float)
    clean = np.delete(scores.values[0].astype(float), 9)
    assert ratio[0] == pytest.approx(clean.max() / np.median(clean))
    assert np.isnan(ratio[3])
    assert np.isfinite(np.delete(ratio, 3)).all()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float64, (2, 7), elements=st.floats(0, 1e6) | st.just(np.nan)))
def test_over_median_equals_its_definition(magnitude: np.ndarray) -> None:
    found = over_median(magnitude)
    for row, ratio in zip(magnitude, found, strict=True):
        clean = row[~np.isnan(row)]
        if clean.size and np.median(clean) > 0:
            assert np.allclose(ratio[~np.isnan(row)], clean / np.median(clean))
        else:
            assert np.isnan(ratio).all()


def test_boundary_between_kinds_is_ruled_between_the_blocks(scores) -> None:
    ax = plots.channel_magnitude(scores).axes[0]
    rules = [line for line in ax.lines if line.get_gid() == "kind boundary"]
    assert [float(line.get_ydata()[0]) for line in rules] == [3.5]


def test_a_ranking_is_accepted_and_names_its_statistic(scores) -> None:
    bare = scores.copy()
    bare.attrs = {}
    ranking = SimpleNamespace(scores=bare, statistic="abs_mean", stream="text")
    text = words(plots.channel_spectrum(ranking))
    assert "text stream" in text
    assert "channels scored by abs_mean" in text


def test_spectrum_draws_sorted_curves_and_the_top_k(scores) -> None:
    ax = plots.channel_spectrum(scores, k=6).axes[0]
    curves = lines_of(ax)
    assert list(curves) == scores.block_name.values.tolist()
    assert np.allclose(curves["single.5"], np.sort(scores.values[9])[::-1])
    assert any(np.allclose(line.get_xdata(), 6.5) for line in ax.lines)
    relative = lines_of(plots.channel_spectrum(scores, relative=True).axes[0])
    assert np.allclose(relative["double.0"], np.sort(over_median(scores.values)[0])[::-1])


def test_token_channel_heatmap_draws_the_absolute_value_of_bfloat16(hidden) -> None:
    low = hidden.astype(ml_dtypes.bfloat16)
    mesh = mesh_of(plots.token_channel(low, kind="heatmap", massive=[37]))
    expected = np.abs(low.astype("float32").values)
    assert np.array_equal(mesh[:, 37], expected[:, 37])  # negative in the data


def test_token_channel_ridges_are_the_massive_channels(hidden) -> None:
    ax = drawn(plots.token_channel(hidden, massive=MASSIVE)).axes[0]
    ridges = next(c for c in ax.collections if isinstance(c, PolyCollection))
    quiet = next(c for c in ax.collections if isinstance(c, LineCollection))
    assert len(ridges.get_paths()) == len(MASSIVE)
    assert len(quiet.get_paths()) == 128 - len(MASSIVE)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "9", "37", "101", "127"]


def test_jaccard_cells_hold_the_matrix_and_its_numbers(jaccard) -> None:
    figure = plots.jaccard_matrix(jaccard)
    assert np.array_equal(figure.axes[0].images[0].get_array(), jaccard.values)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    assert figure.axes[0].texts[1].get_text() == ".85"
    assert "Random sets would reach 0.05" in words(figure)


def test_jaccard_names_both_sides_where_they_are_the_same_blocks(jaccard) -> None:
    named = jaccard.rename(other_block="block_other").assign_coords(block_other=np.arange(10))
    ticks = [label.get_text() for label in plots.jaccard_matrix(named).axes[0].get_xticklabels()]
    assert ticks == jaccard.block_name.values.tolist()
    others = named.assign_coords(block_other=np.arange(10, 20))
    ticks = [label.get_text() for label in plots.jaccard_matrix(others).axes[0].get_xticklabels()]
    assert ticks == [str(block) for block in range(10, 20)]


def test_iou_lines_and_bands_equal_the_dataset(iou) -> None:
    figure = plots.iou_by_block(iou)
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


def test_stability_marks_the_stop_and_the_threshold(running) -> None:
    ax = plots.stability_curve(running).axes[0]
    assert any(np.allclose(line.get_xdata(), 72) for line in ax.lines)
    assert any(np.allclose(line.get_ydata(), 0.9) for line in ax.lines)
    assert np.array_equal(lines_of(ax)["double.1"], running.values[:, 1])
    never = plots.stability_curve(running.assign_attrs(stop=None))
    assert "stop" not in words(never)


def bars_of(ax) -> np.ndarray:
    container = next(c for c in ax.containers if isinstance(c, BarContainer))
    return np.array([[bar.get_x(), bar.get_x() + bar.get_width()] for bar in container])


def test_ablation_bars_and_whiskers_equal_the_summary(summary) -> None:
    figure = plots.ablation(summary)
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


def test_ablation_starts_at_the_baseline_and_says_infinity(summary) -> None:
    summary = summary.isel(metric=[2]).drop_vars("energy_removed")
    summary["mean"][0, 5] = np.inf
    summary = summary.assign(baseline=("metric", [3.0]))
    figure = drawn(plots.ablation(SimpleNamespace(summary=summary)))
    ends = bars_of(figure.axes[0])[:5]
    assert np.allclose(ends.max(1), 3.0)
    assert ends.min() == pytest.approx(-4.9)
    assert "∞" in words(figure)


def test_controls_are_grey_and_what_is_tested_is_not() -> None:
    look = looks(["massive to mean?", "std-ranked 12", "random 12", "bottom 12"])
    assert [one.control for one in look.values()] == [False, False, True, True]
    assert look["random 12"].colour in CONTROL
    assert look["massive to mean?"].colour == DISTINCT[0]
    assert looks(["a", "b"], controls=["a"])["a"].control
    shown = [(one.colour, one.marker) for one in looks([f"random {i}" for i in range(6)]).values()]
    assert len(set(shown)) == 6


def test_images_are_drawn_as_they_are(images) -> None:
    grid = images.expand_dims(edit=["baseline", "massive"]).transpose("sample", "edit", ...).copy()
    grid[1, 1] = 7
    axes = plots.image_grid(grid).axes
    assert np.array_equal(axes[2].images[0].get_array(), images.values[1])
    assert (axes[3].images[0].get_array() == 7).all()
    assert axes[2].get_ylabel().replace("\n", " ") == str(images.prompt.values[1])
    floats = plots.image_grid(images / 255.0).axes
    assert np.array_equal(floats[0].images[0].get_array(), images.values[0])


def area(loops: list[np.ndarray]) -> float:
    """Signed area of closed loops (shoelace): outer borders count up, holes count down."""
    return sum(0.5 * float(np.sum(loop[:-1, 0] * loop[1:, 1] - loop[1:, 0] * loop[:-1, 1])) for loop in loops)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_borders_enclose_exactly_the_mask(mask: np.ndarray) -> None:
    loops = borders(mask)
    assert area(loops) == pytest.approx(mask.sum())
    steps = np.concatenate([np.abs(np.diff(loop, axis=0)).sum(1) for loop in loops]) if loops else np.ones(1)
    assert (steps == 1).all(), "a border leaves the grid"
    framed = np.pad(mask, 1).astype(int)
    edges = np.abs(np.diff(framed, axis=0)).sum() + np.abs(np.diff(framed, axis=1)).sum()
    assert sum(len(loop) - 1 for loop in loops) == edges


def test_masks_from_flat_tokens_land_on_the_grid(images, masks) -> None:
    found = masks.found
    flat = found.stack(token=("y", "x")).reset_index("token")
    flat = flat.assign_coords(y=("token", flat.y.values), x=("token", flat.x.values))
    shuffled = flat.isel(token=np.random.default_rng(0).permutation(256))
    by_grid = plots.mask_grid(images, found)._repr_png_()
    assert plots.mask_grid(images, shuffled)._repr_png_() == by_grid


def test_mask_cells_hold_their_own_mask_and_iou(images, masks) -> None:
    figure = plots.mask_grid(images, masks.found, iou=masks.iou, reference=masks.reference)
    axes = np.array(figure.axes).reshape(3, 11)
    cell = axes[1, 4]  # the first column is the bare image
    outline = next(c for c in cell.collections if c.get_gid() == "mask")
    loops = [path.vertices for path in outline.get_paths()]
    assert area(loops) * 256 == pytest.approx(masks.found.values[1, 3].sum())
    veil = cell.images[1].get_array()[..., 3] > 0
    assert np.array_equal(veil, ~masks.found.values[1, 3])
    assert cell.texts[0].get_text() == f"{masks.iou.values[1, 3]:.2f}"
    reference = next(c for c in cell.collections if c.get_gid() == "reference")
    assert area([path.vertices for path in reference.get_paths()]) * 32**2 == pytest.approx(
        disc(0.7, 0.4, 0.28, 32).sum()
    )
    assert not [c for c in axes[1, 0].collections if c.get_gid() == "mask"]


def test_loss_curve_draws_the_later_of_two_rows(rows) -> None:
    again = [*rows, {**rows[3], "loss": 0.5}]
    ax = plots.loss_curve(again, columns=["loss"], smooth=1).axes[0]
    line = ax.lines[0]
    assert len(line.get_xdata()) == len(rows)
    assert line.get_ydata()[3] == 0.5
    assert list(line.get_xdata()) == sorted(line.get_xdata())


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80), st.floats(0.4, 4.0))
def test_wrapped_lines_fit_and_lose_no_word(text: str, inches: float) -> None:
    wrapped = wrap(text, inches, 9.0)
    assert "".join(wrapped.split()) == "".join(text.split())
    assert all(width(line, 9.0) <= inches or len(line) == 1 for line in wrapped.split("\n"))


def test_wrap_ends_in_an_ellipsis_that_fits() -> None:
    wrapped = wrap("word " * 60, 1.2, 9.0, lines=2)
    assert wrapped.count("\n") == 1
    assert wrapped.endswith("…")
    assert all(width(line, 9.0) <= 1.2 for line in wrapped.split("\n"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01, "0.01"), (2000, "2,000"), (-3.5, f"{MINUS}3.5"), (1e6, "1e6"), (2e-5, f"2e{MINUS}5")],
)
def test_numbers_on_axes_are_plain(value: float, text: str) -> None:
    assert number(value) == text
