"""Every figure: titled, labelled, nothing cut off, no trace left in matplotlib's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, words
from figure_data import (
    MASSIVE,
    make_hidden,
    make_images,
    make_iou,
    make_jaccard,
    make_masks,
    make_rows,
    make_running,
    make_scores,
    make_summary,
)
from matplotlib.figure import Figure

from ditscope import plots
from ditscope.errors import InputError
from ditscope.plots.sheet import png

ABOUT = {"model": "shapes", "samples": 32}


def _masks() -> Figure:
    found, reference, iou = make_masks()
    return plots.mask_grid(
        make_images().drop_vars("prompt"), found, reference=reference, iou=iou, about=ABOUT
    )


def _edits() -> Figure:
    images = make_images(3)
    edits = xr.concat(
        [images, images[:, ::-1]], xr.DataArray(["baseline", "massive"], dims="edit", name="edit")
    )
    return plots.image_grid(edits.transpose("sample", "edit", ...), about=ABOUT)


FIGURES = {
    "channel_magnitude": lambda: plots.channel_magnitude(make_scores(), about=ABOUT),
    "channel_magnitude by id": lambda: plots.channel_magnitude(make_scores(), by="channel", about=ABOUT),
    "channel_spectrum": lambda: plots.channel_spectrum(make_scores(), about=ABOUT),
    "token_channel ridges": lambda: plots.token_channel(make_hidden(), massive=MASSIVE, about=ABOUT),
    "token_channel heatmap": lambda: plots.token_channel(
        make_hidden(), massive=MASSIVE, kind="heatmap", about=ABOUT
    ),
    "jaccard_matrix": lambda: plots.jaccard_matrix(make_jaccard(), about=ABOUT),
    "jaccard_matrix panels": lambda: plots.jaccard_matrix(
        {"blocks": make_jaccard(), "steps": make_jaccard(6), "prompts": make_jaccard(20)}, about=ABOUT
    ),
    "mask_grid": _masks,
    "iou_by_block": lambda: plots.iou_by_block(make_iou(), chance=0.3, about=ABOUT),
    "iou_by_block one panel": lambda: plots.iou_by_block(make_iou(False), about=ABOUT),
    "ablation": lambda: plots.ablation(make_summary(), about=ABOUT),
    "image_grid": _edits,
    "image_grid wrapped": lambda: plots.image_grid(make_images(4), wrap_at=3, about=ABOUT),
    "stability_curve": lambda: plots.stability_curve(make_running(), about=ABOUT),
    "loss_curve": lambda: plots.loss_curve(make_rows(), stages="pixels", about=ABOUT),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_readable_without_its_caption(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    check_readable(figure, labelled="grid" not in name)
    assert "shapes" in words(figure), "the facts do not name the model"
    assert dict(matplotlib.rcParams) == before


def test_figures_need_no_pyplot() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from figure_data import make_scores;"
        "from ditscope import plots; plots.channel_magnitude(make_scores());"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True, env=environment)


def test_a_figure_does_not_depend_on_the_callers_settings() -> None:
    plain = plots.channel_spectrum(make_scores())._repr_png_()
    with matplotlib.rc_context(
        {
            "font.size": 30,
            "axes.facecolor": "black",
            "savefig.bbox": "tight",
            "hatch.linewidth": 9,
            "xtick.direction": "in",
        }
    ):
        other = plots.channel_spectrum(make_scores())
        assert other._repr_png_() == plain


@pytest.mark.parametrize("dims", [("block",), ("sample", "block", "channel"), ("block", "token")])
def test_wrong_dims_are_refused_by_name(dims: tuple[str, ...]) -> None:
    array = xr.DataArray(np.ones((2,) * len(dims)), dims=dims)
    with pytest.raises(
        InputError, match=r"found dims \[.*expected channel scores with dims \[block, channel\]"
    ):
        plots.channel_magnitude(array)


REFUSED = {
    "no labels": lambda: plots.channel_spectrum(np.ones((3, 4))),
    "negative scores": lambda: plots.channel_magnitude(-make_scores()),
    "k beyond the width": lambda: plots.channel_spectrum(make_scores(), k=129),
    "unknown order": lambda: plots.channel_magnitude(make_scores(), by="size"),
    "empty": lambda: plots.channel_magnitude(make_scores().isel(block=[])),
    "many tokens dims": lambda: plots.token_channel(make_hidden().expand_dims("sample")),
    "unknown massive channel": lambda: plots.token_channel(make_hidden(), massive=[500]),
    "unknown kind": lambda: plots.token_channel(make_hidden(), kind="pie"),
    "not square": lambda: plots.jaccard_matrix(make_jaccard()[:3]),
    "counts, not shares": lambda: plots.jaccard_matrix(make_jaccard() * 12),
    "missing interval": lambda: plots.iou_by_block(make_iou().drop_vars("iou_low")),
    "summary without mean": lambda: plots.ablation(make_summary().drop_vars("mean")),
    "summary of arrays": lambda: plots.ablation({"mean": 1}),
    "images without rgb": lambda: plots.image_grid(make_images().isel(rgb=0)),
    "images with alpha": lambda: plots.image_grid(make_images().pad(rgb=(0, 1))),
    "too few labels": lambda: plots.image_grid(make_images(), columns=["one"]),
    "floats beyond 1": lambda: plots.image_grid(make_images().astype(float)),
    "masks without grid": lambda: plots.mask_grid(make_images(), make_masks()[0].isel(y=0)),
    "masks of numbers": lambda: plots.mask_grid(make_images(), make_masks()[0] * 0.5),
    "no count of samples": lambda: plots.stability_curve(make_running().drop_vars("samples")),
    "no rows": lambda: plots.loss_curve([]),
    "no such column": lambda: plots.loss_curve(make_rows(), columns=["accuracy"]),
    "no figure": lambda: plots.save_png(np.ones(3), "a.png"),
    "no png": lambda: plots.save_png(plots.channel_spectrum(make_scores()), "a.pdf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_found_expected_and_remedy(case: str) -> None:
    with pytest.raises(InputError) as caught:
        REFUSED[case]()
    message = str(caught.value)
    assert message.startswith("found ")
    assert "; expected " in message
    assert message.endswith(".")


def test_save_writes_the_same_bytes_and_nothing_else(tmp_path) -> None:
    first = plots.save_png(plots.channel_magnitude(make_scores()), tmp_path / "new" / "a.png")
    second = plots.save_png(plots.channel_magnitude(make_scores()), tmp_path / "new" / "b.png")
    assert first.read_bytes() == second.read_bytes()
    assert not any(chunk in first.read_bytes() for chunk in (b"tEXt", b"iTXt", b"tIME"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "prompt", ["costs $5 and $10 \\frac", "", "雪の中の猫" * 12, "x" * 300, "<b>&\n\nlines"]
)
def test_any_prompt_can_be_a_label(prompt: str) -> None:
    images = make_images(2).assign_coords(prompt=("sample", [prompt, "a cat"]))
    grid = images.expand_dims(edit=["baseline", "massive"]).transpose("sample", "edit", ...)
    figure = plots.image_grid(grid, title=prompt or None, about={"prompt": prompt})
    assert png(figure).startswith(b"\x89PNG")
    check_readable(figure, labelled=False)
    assert "$" not in prompt or prompt.replace("$", r"\$") in words(figure).replace("\n", " ")
