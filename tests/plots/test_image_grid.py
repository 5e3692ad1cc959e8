from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, same_picture, shuffled, words
from figure_data import make_comparison, make_images

from ditscope.errors import InputError
from ditscope.plots import image_grid
from ditscope.plots._sheet import png


@pytest.fixture
def pictures(images) -> xr.DataArray:
    grid = images.expand_dims(edit=["baseline", "massive"]).transpose("sample", "edit", ...).copy()
    grid[1, 1] = 7
    return grid


@pytest.fixture
def captions() -> xr.DataArray:
    return xr.DataArray(
        [[0.1, 0.2, 0.3], [11, 22, 33]],
        dims=("edit", "sample"),
        coords={"edit": ["baseline", "massive"], "sample": range(3)},
    )


def test_images_are_drawn_as_they_are(images, pictures) -> None:
    axes = image_grid(pictures).axes
    assert np.array_equal(axes[2].images[0].get_array(), images.values[1])
    assert (axes[3].images[0].get_array() == 7).all()
    assert axes[2].get_ylabel().replace("\n", " ") == str(images.prompt.values[1])
    floats = image_grid(images / 255.0).axes
    assert np.array_equal(floats[0].images[0].get_array(), images.values[0])


def test_captions_are_matched_by_label(pictures, captions) -> None:
    figure = image_grid(pictures, captions=captions)
    assert [ax.get_xlabel() for ax in figure.axes] == ["0.1", "11", "0.2", "22", "0.3", "33"]
    for seed in range(3):
        other = shuffled(captions, "sample", "edit", seed=seed)
        assert same_picture(image_grid(pictures, captions=other), figure)
        assert same_picture(image_grid(pictures, captions=other.T), figure)


def test_the_order_of_dims_does_not_matter(pictures) -> None:
    turned = pictures.transpose("x_pixel", "edit", "rgb", "sample", "y_pixel")
    assert same_picture(image_grid(turned), image_grid(pictures))


def test_rows_can_be_any_of_the_dims(images, pictures) -> None:
    axes = image_grid(pictures, rows="edit").axes
    assert np.array_equal(axes[1].images[0].get_array(), images.values[1])
    assert axes[3].get_ylabel() == "massive"
    with pytest.raises(InputError, match="rows 'step'"):
        image_grid(pictures, rows="step")


def test_wrapped_images_keep_their_captions(images) -> None:
    captions = xr.DataArray(["c", "a", "b"], dims="sample", coords={"sample": [2, 0, 1]})
    axes = image_grid(images, captions=captions, wrap_at=2).axes
    assert [ax.get_xlabel().split("\n")[-1] for ax in axes] == ["a", "b", "c"]
    assert np.array_equal(axes[2].images[0].get_array(), images.values[2])


@pytest.mark.parametrize(
    "change",
    [
        lambda captions: captions[:, :2],
        lambda captions: captions[0],
        lambda captions: captions.assign_coords(edit=["baseline", "other"]),
        lambda captions: captions.assign_coords(prompt=("sample", ["a", "b", "c"])),
        lambda captions: captions.drop_vars("sample")[:, :2],
        lambda captions: captions.values,
    ],
)
def test_captions_that_do_not_match_are_refused(pictures, captions, change) -> None:
    with pytest.raises(InputError):
        image_grid(pictures, captions=change(captions))


def test_a_comparison_is_the_unedited_image_beside_the_first_draw_of_each_edit() -> None:
    comparison = make_comparison()
    captions = comparison["value"].isel(draw=0)
    figure = image_grid(comparison, captions=captions)
    check_readable(figure, labelled=False)
    axes = np.array(figure.axes).reshape(3, 3)
    assert [ax.get_title() for ax in axes[0]] == ["unedited", "zero top", "zero random"]
    assert np.array_equal(axes[2, 0].images[0].get_array(), comparison.baseline_images[2])
    assert np.array_equal(axes[2, 2].images[0].get_array(), comparison.images.values[1, 0, 2])
    assert [ax.get_xlabel() for ax in axes[2]] == ["", "2", "8"]
    turned = shuffled(captions, "sample", "edit")
    assert same_picture(image_grid(comparison, captions=turned), figure)
    with pytest.raises(InputError, match="draw"):
        image_grid(comparison, captions=comparison["value"].sel(draw=1))


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "prompt", ["costs $5 and $10 \\frac", "", "雪の中の猫" * 12, "x" * 300, "<b>&\n\nlines"]
)
def test_any_prompt_can_be_a_label(prompt: str) -> None:
    images = make_images(2).assign_coords(prompt=("sample", [prompt, "a cat"]))
    grid = images.expand_dims(edit=["baseline", "massive"])
    figure = image_grid(grid, title=prompt or None, about={"prompt": prompt})
    assert png(figure).startswith(b"\x89PNG")
    check_readable(figure, labelled=False)
    assert "$" not in prompt or prompt.replace("$", r"\$") in words(figure).replace("\n", " ")
