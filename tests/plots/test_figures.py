"""Every figure: titled, labelled, nothing cut off, no trace left in matplotlib's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from figure_checks import check_readable, same_picture, words
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
    make_rows,
    make_scores,
    make_summary,
    make_sweep,
)
from matplotlib.figure import Figure

from ditscope import plots
from ditscope.errors import InputError

ABOUT = {"model": "shapes", "samples": 32}


def _masks() -> Figure:
    mask, reference, iou = make_masks()
    return plots.mask_grid(make_images().drop_vars("prompt"), mask, reference=reference, iou=iou, about=ABOUT)


FIGURES = {
    "channel_magnitude": lambda: plots.channel_magnitude(make_scores(), about=ABOUT),
    "channel_magnitude by id": lambda: plots.channel_magnitude(make_scores(), by="channel", about=ABOUT),
    "channel_spectrum": lambda: plots.channel_spectrum(make_scores(), about=ABOUT),
    "token_channel": lambda: plots.token_channel(make_hidden(), massive=MASSIVE, about=ABOUT),
    "jaccard_matrix": lambda: plots.jaccard_matrix(make_jaccard(), about=ABOUT),
    "mask_grid": _masks,
    "iou_by_block": lambda: plots.iou_by_block(make_iou(), chance=0.3, about=ABOUT),
    "iou_by_block one panel": lambda: plots.iou_by_block(make_iou(False), about=ABOUT),
    "ablation": lambda: plots.ablation(make_summary(), about=ABOUT),
    "interpolation_curve": lambda: plots.interpolation_curve(make_curves(), about=ABOUT),
    "image_grid": lambda: plots.image_grid(make_comparison(), about=ABOUT),
    "image_grid wrapped": lambda: plots.image_grid(make_images(4), wrap_at=3, about=ABOUT),
    "stability_curve": lambda: plots.stability_curve(make_needed(), about=ABOUT),
    "stability_curve orders": lambda: plots.stability_curve(make_needed(4, 2), about=ABOUT),
    "sweep_heatmap": lambda: plots.sweep_heatmap(make_sweep(), about=ABOUT),
    "grid_effects": lambda: plots.grid_effects(make_cells(), about=ABOUT),
    "verdicts": lambda: plots.verdicts(make_decided(), about=ABOUT),
    "loss_curve": lambda: plots.loss_curve(make_rows(), stages="pixels", about=ABOUT),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_readable_without_its_caption(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    check_readable(figure, labelled="grid" not in name)
    assert "shapes" in words(figure), "the headline does not name the model"
    assert dict(matplotlib.rcParams) == before


def test_every_figure_is_in_a_file_of_its_name_and_is_tested() -> None:
    folder = Path(plots.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
    assert files == set(plots.__all__)
    assert {f"test_{name}.py" for name in files} <= {path.name for path in Path(__file__).parent.iterdir()}
    for name in files - {name.split()[0] for name in FIGURES} - {"save_png"}:
        assert "check_readable(" in (Path(__file__).parent / f"test_{name}.py").read_text()
    assert all("Draws " in getattr(plots, name).__doc__.split("\n")[0] for name in files - {"save_png"})


def test_figures_need_no_pyplot() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from figure_data import make_scores;"
        "from ditscope import plots; plots.channel_magnitude(make_scores());"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True, env=environment)


def test_a_figure_does_not_depend_on_the_callers_settings() -> None:
    plain = plots.channel_spectrum(make_scores())
    with matplotlib.rc_context(
        {
            "font.size": 30,
            "axes.facecolor": "black",
            "savefig.bbox": "tight",
            "hatch.linewidth": 9,
            "xtick.direction": "in",
        }
    ):
        assert same_picture(plots.channel_spectrum(make_scores()), plain)


REFUSED = {
    "no labels": lambda: plots.channel_spectrum(np.ones((3, 4))),
    "negative scores": lambda: plots.channel_magnitude(-make_scores()),
    "k beyond the width": lambda: plots.channel_spectrum(make_scores(), k=129),
    "k that is no number": lambda: plots.channel_spectrum(make_scores(), k=1.5),
    "unknown order": lambda: plots.channel_magnitude(make_scores(), by="size"),
    "empty": lambda: plots.channel_magnitude(make_scores().isel(block=[])),
    "many tokens dims": lambda: plots.token_channel(make_hidden().expand_dims("sample")),
    "unknown massive channel": lambda: plots.token_channel(make_hidden(), massive=[500]),
    "not square": lambda: plots.jaccard_matrix(make_jaccard()[:3]),
    "counts, not shares": lambda: plots.jaccard_matrix(make_jaccard() * 12),
    "no matrices": lambda: plots.jaccard_matrix(make_iou()),
    "missing interval": lambda: plots.iou_by_block(make_iou().drop_vars("iou_low")),
    "curves without alpha": lambda: plots.interpolation_curve(make_curves().drop_vars("alpha")),
    "comparison without mean": lambda: plots.ablation(make_summary().drop_vars("mean")),
    "comparison of arrays": lambda: plots.ablation({"mean": 1}),
    "images without rgb": lambda: plots.image_grid(make_images().isel(rgb=0)),
    "images with alpha": lambda: plots.image_grid(make_images().pad(rgb=(0, 1))),
    "three dims of images": lambda: plots.image_grid(make_comparison()["images"]),
    "comparison without images": lambda: plots.image_grid(make_summary()),
    "floats beyond 1": lambda: plots.image_grid(make_images().astype(float)),
    "masks without grid": lambda: plots.mask_grid(make_images(), make_masks()[0].isel(y=0)),
    "masks of numbers": lambda: plots.mask_grid(make_images(), make_masks()[0] * 0.5),
    "masks of three dims": lambda: plots.mask_grid(make_images(), make_masks()[0].expand_dims("step")),
    "no count of samples": lambda: plots.stability_curve(make_needed().drop_vars("samples")),
    "agreement alone": lambda: plots.stability_curve(make_needed()["jaccard"]),
    "no rows": lambda: plots.loss_curve([]),
    "no such column": lambda: plots.loss_curve(make_rows(), columns=["accuracy"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_found_expected_and_remedy(case: str) -> None:
    with pytest.raises(InputError) as caught:
        REFUSED[case]()
    message = str(caught.value)
    assert message.startswith("found ")
    assert "; expected " in message
    assert message.endswith(".")
