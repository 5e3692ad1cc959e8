"""Every figure can be a part of somebody's own; as SVG it follows the reader's theme."""

from __future__ import annotations

import re
import warnings

import matplotlib
import numpy as np
import pytest
import xarray as xr
from figure_checks import check_apart, check_inside, drawn, words
from figure_data import (
    MASSIVE,
    make_cells,
    make_comparison,
    make_curves,
    make_decided,
    make_hidden,
    make_images,
    make_iou,
    make_jaccard,
    make_masks,
    make_needed,
    make_recording,
    make_rows,
    make_scores,
    make_summary,
    make_sweep,
)
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_attribution_against_effect import effects
from test_growth_by_block import make_growth

import ditscope as ds
from ditscope import plots
from ditscope.errors import InputError
from ditscope.plots._sheet import svg
from ditscope.plots._style import DARK, INK, PAPER

PLACE = ("sample", "step", "branch")
OWN_NAMES = {
    "variance_shares": "massive",
    "probe_accuracy": "Side",
}  # what a single panel has in place of a title


def _recording(samples: int = 4) -> xr.DataArray:
    return make_recording().isel(sample=slice(0, samples))


def _sets() -> dict[str, ds.channels.ChannelSet]:
    return {"massive": ds.channels.ChannelSet.of([12, 13]), "others": ds.channels.ChannelSet.of([0, 1])}


def _correspondence() -> dict[str, xr.Dataset]:
    dims = ("pair", "alpha")
    pck = xr.Dataset({"pck": (dims, np.full((3, 2), 0.5))}, coords={"alpha": [0.05, 0.1]})
    of_alpha = {name: ("alpha", [0.4, 0.6]) for name in ("mean", "low", "high")}
    return {"raw": pck.assign(of_alpha), "other": pck.assign(of_alpha)}


def _changes() -> xr.Dataset:
    few = _recording(2)
    later = few.copy(data=few.values + 1).assign_coords(step=[11, 14])
    return ds.passes.redundancy(xr.concat([few, later], "step"), _sets())


def _probed() -> xr.Dataset:
    few = _recording(12)
    labels = xr.DataArray([np.arange(12) % 2], dims=("label", "sample"), coords={"label": ["side"]})
    return ds.passes.probe(few, labels, _sets(), cells=2, shuffles=1, resamples=50)


def _registers() -> xr.Dataset:
    made = ds.passes.registers(_recording(), _sets()["massive"], ratio=1.2).drop_vars("outlier")
    return made.mean(PLACE).compute()


PLOTS = {
    "ablation": lambda **place: plots.ablation(make_summary(), **place),
    "agreement_by_block": lambda **place: plots.agreement_by_block(
        ds.passes.agreement(_recording(), _recording() * 2, k=3, permutations=5), **place
    ),
    "attribution_against_effect": lambda **place: plots.attribution_against_effect(
        effects(1), effects(2), **place
    ),
    "change_by_step": lambda **place: plots.change_by_step(_changes(), **place),
    "channel_magnitude": lambda **place: plots.channel_magnitude(make_scores(), **place),
    "channel_range": lambda **place: plots.channel_range(
        ds.passes.channel_ranges(_recording()).sel(branch="cond").isel(block=1), massive=[12], **place
    ),
    "channel_spectrum": lambda **place: plots.channel_spectrum(make_scores(), **place),
    "correspondence_curve": lambda **place: plots.correspondence_curve(_correspondence(), **place),
    "grid_effects": lambda **place: plots.grid_effects(make_cells(), **place),
    "growth_by_block": lambda **place: plots.growth_by_block(make_growth(), [2, 5], **place),
    "image_grid": lambda **place: plots.image_grid(make_comparison(), **place),
    "interpolation_curve": lambda **place: plots.interpolation_curve(make_curves(), **place),
    "iou_by_block": lambda **place: plots.iou_by_block(make_iou(False), **place),
    "jaccard_matrix": lambda **place: plots.jaccard_matrix(make_jaccard(), **place),
    "loss_curve": lambda **place: plots.loss_curve(make_rows(), **place),
    "mask_grid": lambda **place: plots.mask_grid(make_images().drop_vars("prompt"), make_masks()[0], **place),
    "probe_accuracy": lambda **place: plots.probe_accuracy(_probed(), **place),
    "registers_by_block": lambda **place: plots.registers_by_block(_registers(), **place),
    "rounding_error": lambda **place: plots.rounding_error(
        ds.passes.quantization_error(_recording(2), _sets(), apart="mx9"), **place
    ),
    "stability_curve": lambda **place: plots.stability_curve(make_needed(), **place),
    "sweep_heatmap": lambda **place: plots.sweep_heatmap(make_sweep(), **place),
    "token_channel": lambda **place: plots.token_channel(make_hidden(), massive=MASSIVE, **place),
    "variance_shares": lambda **place: plots.variance_shares(
        {"massive": ds.passes.variance_components(_recording(), channels=[1, 2])}, **place
    ),
    "verdicts": lambda **place: plots.verdicts(make_decided(), **place),
}


def test_every_plot_is_here() -> None:
    assert set(PLOTS) == set(plots.__all__) - {"save_png"}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_a_part_of_somebodys_figure(name: str) -> None:
    before = dict(matplotlib.rcParams)
    own = Figure(figsize=(24, 18), layout="constrained")
    left, right = own.subfigures(1, 2)
    (ax, beside) = right.subplots(2, 1)
    beside.plot([0, 1])
    assert PLOTS[name](figure=left) is own
    assert PLOTS[name](ax=ax) is own
    drawn(own)
    check_inside(own)
    title = left.get_suptitle()
    assert len(title) > 5, "the subfigure has no title"
    said = title.split("\n")[0] if name not in OWN_NAMES else OWN_NAMES[name]  # the panel's own name
    assert said in words(right).replace("\n", " "), "the axes has no title"
    borders = {"left": left.bbox, "right": right.bbox}
    for part, (low, high) in {name: (box.x0, box.x1) for name, box in borders.items()}.items():
        inside = [each for each in own.axes if (each.bbox.x0 < left.bbox.x1) == (part == "left")]
        assert inside, f"nothing in the {part} part"
        assert all(low - 1 < each.bbox.x0 < each.bbox.x1 < high + 1 for each in inside)
    place = right.bbox.y0 + right.bbox.height / 2
    mine = [each for each in own.axes if each.bbox.x0 > left.bbox.x1 and each is not beside]
    assert all(each.bbox.y0 > place - 0.1 * right.bbox.height for each in mine), "beyond the axes' place"
    assert len(beside.lines) == 1, "another axes was drawn in"
    assert ax in own.axes or len(mine) > 1
    assert dict(matplotlib.rcParams) == before


def test_one_panel_is_drawn_in_the_axes_itself() -> None:
    ax = Figure().subplots()
    plots.iou_by_block(make_iou(False), ax=ax)
    assert ax.get_title(loc="left") == "IoU of the masks with the reference, by block"
    assert {line.get_gid() for line in ax.lines} >= set(make_iou(False)["selector"].values)
    assert len(ax.get_legend().get_texts()) == make_iou(False).sizes["selector"]


@pytest.mark.parametrize("name", ["ablation", "loss_curve", "rounding_error", "token_channel", "verdicts"])
def test_several_panels_can_be_read_in_a_small_axes(name: str) -> None:
    own = Figure(figsize=(6, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PLOTS[name](ax=own.subplots())
    drawn(own)
    check_inside(own)
    check_apart(own)
    assert min(text.get_fontsize() for text in own.findobj(Text) if text.get_text()) >= 3.5


def test_panels_have_letters_as_large_as_there_is_room_and_a_warning_where_there_is_none() -> None:
    def size(width: float, height: float) -> float:
        own = Figure(figsize=(width, height))
        PLOTS["ablation"](ax=own.subplots())
        return own.axes[0].xaxis.label.get_fontsize()

    assert size(12, 8) == 9
    assert 4.5 < size(6, 4) < 6
    with pytest.warns(
        UserWarning, match="1 x 5 panels in 3.0 x 2.0 inches cannot be read: they need"
    ) as said:
        assert size(3, 2) == 4.5
    assert said[0].filename == __file__
    needed = [float(number) for number in re.findall(r"[\d.]+\d", str(said[0].message))[-2:]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        size(needed[0] + 0.05, needed[1] + 0.05)


def test_a_whole_figure_keeps_its_own_size() -> None:
    own = Figure(figsize=(9, 5))
    assert plots.channel_spectrum(make_scores(), figure=own) is own
    drawn(own)
    check_inside(own)
    assert own.get_size_inches().tolist() == [9, 5]


def test_what_is_no_place_is_refused_and_left_alone() -> None:
    full = Figure()
    ax = full.subplots()
    free = full.add_axes((0, 0, 1, 1))
    small = Figure(figsize=(3, 1))
    for place, found in (
        ({"figure": full}, "figure=with axes in it"),
        ({"figure": full, "ax": ax}, "figure= and ax="),
        ({"figure": ax}, "figure=Axes"),
        ({"ax": full}, "ax=Figure"),
        ({"ax": free}, "an axes for 2 x 1 panels that is in no grid"),
        ({"figure": small}, "a figure of 3.0 x 1.0 inches"),
    ):
        with pytest.raises(InputError, match=found):
            plots.token_channel(make_hidden(), **place)
    assert full.axes == [ax, free]
    assert not small.axes
    assert not small.texts


def test_as_svg_its_greys_follow_the_theme_and_its_colours_do_not() -> None:
    text = svg(plots.iou_by_block(make_iou())).decode()
    style, rest = re.search(r"<style[^>]*>(.*?)</style>(.*)", text, re.S).groups()
    for grey in (INK, PAPER):
        assert grey in style
        assert f": {grey}" not in rest
        assert f": var(--n{list(DARK).index(grey)})" in rest
    dark = style.split("prefers-color-scheme:dark")[1]
    assert DARK[INK] in dark
    assert DARK[PAPER] in dark
    assert "#d55e00" in rest
    assert "http" not in re.sub(r"http://(www\.w3|purl|creativecommons)\.org/[^\"\s>]*", "", text)
    assert svg(plots.iou_by_block(make_iou())) == text.encode()


def test_every_colour_can_be_seen_on_both_pages() -> None:
    """Contrast of 2.6 to the dark page and 1.65 to the white one, of all lines and marks."""
    from ditscope.plots import _style

    def brightness(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: str, other: str) -> float:
        low, high = sorted(map(brightness, (one, other)))
        return (high + 0.05) / (low + 0.05)

    depth = [matplotlib.colors.to_hex(_style.DEPTH(at)) for at in np.linspace(0, 1, 9)]
    for colour in (*_style.DISTINCT, *_style.CONTROL, *depth, _style.INK, _style.MUTED):
        assert contrast(DARK.get(colour, colour), DARK[PAPER]) > 2.6, colour
        assert contrast(colour, PAPER) > 1.65, colour
