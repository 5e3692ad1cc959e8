from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, same_picture, shuffled, words
from figure_data import disc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import mask_grid
from ditscope.plots.mask_grid import borders


def area(loops: list[np.ndarray]) -> float:
    """Signed area of closed loops (shoelace): outer borders count up, holes count down."""
    return sum(0.5 * float(np.sum(loop[:-1, 0] * loop[1:, 1] - loop[1:, 0] * loop[:-1, 1])) for loop in loops)


def outlined(ax, name: str) -> float:
    """The share of an image inside the outlines of one name."""
    return area([path.vertices for c in ax.collections if c.get_gid() == name for path in c.get_paths()])


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
    flat = masks.mask.stack(token=("y", "x")).reset_index("token")
    flat = flat.assign_coords(y=("token", flat.y.values), x=("token", flat.x.values))
    shuffled_tokens = flat.isel(token=np.random.default_rng(0).permutation(256))
    plain = mask_grid(images[:1], masks.mask[:1, :2])
    assert same_picture(mask_grid(images[:1], shuffled_tokens[:1, :2]), plain)


def test_each_image_has_its_own_mask_reference_and_iou(images, masks) -> None:
    figure = mask_grid(images, masks.mask, iou=masks.iou, reference=masks.reference)
    axes = np.array(figure.axes).reshape(3, 11)
    ax = axes[1, 4]  # the first column is the bare image
    assert outlined(ax, "mask") * 256 == pytest.approx(masks.mask.values[1, 3].sum())
    veil = ax.images[1].get_array()[..., 3] > 0
    assert np.array_equal(veil, ~masks.mask.values[1, 3])
    assert ax.texts[0].get_text() == f"{masks.iou.values[1, 3]:.2f}"
    assert outlined(ax, "reference") * 32**2 == pytest.approx(disc(0.7, 0.4, 0.28, 32).sum())
    assert not [c for c in axes[1, 0].collections if c.get_gid() == "mask"]


@pytest.mark.parametrize("seed", range(3))
def test_images_reference_and_iou_are_matched_by_label(images, masks, seed: int) -> None:
    mask = masks.mask[:, ::4]
    plain = mask_grid(images, mask, iou=masks.iou[:, ::4], reference=masks.reference)
    turned = mask_grid(
        shuffled(images, "sample", seed=seed),
        mask.transpose("block", "x", "sample", "y"),
        iou=shuffled(masks.iou, "sample", "block", seed=seed + 1),
        reference=shuffled(masks.reference, "sample", seed=seed + 2).rename(y="y_pixel", x="x_pixel"),
    )
    assert same_picture(plain, turned)


def test_rows_of_the_grid_are_matched_by_label(images, masks) -> None:
    upside_down = masks.mask.assign_coords(y=np.arange(16), x=np.arange(16)).isel(y=slice(None, None, -1))
    assert same_picture(mask_grid(images, upside_down[:, :2]), mask_grid(images, masks.mask[:, :2]))


def test_rows_and_columns_can_be_exchanged(images, masks) -> None:
    axes = np.array(mask_grid(images, masks.mask, rows="block").axes).reshape(10, 3)
    assert outlined(axes[3, 1], "mask") * 256 == pytest.approx(masks.mask.values[1, 3].sum())


REFUSED = {
    "another sample": lambda images, masks: (images.assign_coords(sample=[0, 1, 7]), {}),
    "another prompt": lambda images, masks: (images.assign_coords(prompt=("sample", ["a", "b", "c"])), {}),
    "another block": lambda images, masks: (
        images,
        {"iou": masks.iou.assign_coords(block=np.arange(10) + 1)},
    ),
    "fewer samples": lambda images, masks: (images, {"reference": masks.reference[:2]}),
    "unlabelled and fewer": lambda images, masks: (images.drop_vars("sample")[:2], {}),
    "twice the same": lambda images, masks: (images.isel(sample=[0, 1, 2, 2]), {}),
    "one step's score under another's mask": lambda images, masks: (
        images,
        {"iou": masks.iou.assign_coords(step=3)},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_do_not_match_are_refused(images, masks, case: str) -> None:
    mask = masks.mask.assign_coords(prompt=images["prompt"], step=4)
    images, others = REFUSED[case](images, masks)
    with pytest.raises(InputError, match=r"sample|prompt|block|step"):
        mask_grid(images, mask, **others)


def test_what_spatial_masks_and_score_masks_return_is_drawn_whole(recording) -> None:
    few = recording.isel(sample=slice(0, 3))
    reference = xr.DataArray(
        np.repeat([[[False] * 3 + [True] * 3] * 6], 3, axis=0),
        dims=("sample", "y_pixel", "x_pixel"),
        coords={"sample": few["sample"]},
    )
    images = xr.DataArray(
        np.full((64, 12, 12, 3), 120, np.uint8), dims=("sample", "y_pixel", "x_pixel", "rgb")
    ).assign_coords(sample=recording["sample"])
    masks = ds.passes.spatial_masks(few, [12, 13])
    scored = ds.passes.score_masks(masks, reference)
    figure = mask_grid(images, masks, reference=reference, iou=scored)
    check_readable(figure, labelled=False)
    assert "block single.0" in words(figure)
    axes = np.array(figure.axes).reshape(3, 2)
    for row in range(3):
        assert outlined(axes[row, 1], "mask") == pytest.approx(float(masks["mask"][row].mean()))
        assert axes[row, 1].texts[0].get_text() == f"{float(scored.iou[row]):.2f}"
        assert axes[row, 0].get_ylabel() == few.prompt.values[row]
    one = mask_grid(images[0], masks.isel(sample=0))
    assert outlined(one.axes[1], "mask") == pytest.approx(float(masks["mask"][0].mean()))
    assert outlined(one.axes[0], "mask") == 0
