"""Token masks and positions: index arithmetic, grids and labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from ditscope.edits.tokens import (
    differs_by_sample,
    has_grid,
    token_mask,
    token_positions,
    token_selection,
    tokens_at,
)
from ditscope.errors import InputError

RNG = np.random.default_rng(0)
WIDE = RNG.random((5, 7)) < 0.4
BY_NAME = xr.DataArray(WIDE, dims=("y", "x"), coords={"y": range(5), "x": range(7)})
BY_TOKEN = xr.DataArray(
    WIDE.ravel(),
    dims="token",
    coords={"y": ("token", np.repeat(range(5), 7)), "x": ("token", np.tile(range(7), 5))},
)


@given(st.data(), st.integers(1, 60))
def test_positions_count_from_either_end_and_name_a_token_once(data, n_tokens) -> None:
    entries = st.integers(-n_tokens, n_tokens - 1)
    positions = data.draw(st.lists(entries, min_size=1, unique=True))
    result = token_positions(token_selection(positions), n_tokens, None).tolist()
    assert result == sorted({range(n_tokens)[position] for position in positions})


@given(st.data(), st.integers(1, 60))
def test_positions_beyond_the_stream_are_refused(data, n_tokens) -> None:
    beyond = data.draw(st.one_of(st.integers(n_tokens, 99), st.integers(-99, -n_tokens - 1)))
    with pytest.raises(InputError, match=f"token {beyond}"):
        token_positions(token_selection([beyond]), n_tokens, None)


@given(st.data(), st.integers(1, 8), st.integers(1, 8))
def test_a_mask_of_the_grid_selects_its_tokens_whatever_its_form(data, height, width) -> None:
    size = height * width
    mask = np.reshape(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), (height, width))
    expected = [y * width + x for y in range(height) for x in range(width) if mask[y, x]]
    named = xr.DataArray(mask, dims=("y", "x"), coords={"y": range(height), "x": range(width)})
    tokens = named.stack(token=("y", "x")).reset_index("token")
    order = data.draw(st.permutations(range(size)))
    forms = [mask, mask.tolist(), torch.as_tensor(mask), named, named.transpose("x", "y"), named[::-1, ::-1]]
    forms += [tokens, tokens.isel(token=order), named.drop_vars(["y", "x"]).T]
    for form in forms:
        selection = token_selection(form)
        assert token_positions(selection, size, (height, width)).tolist() == expected
        if height != width:
            with pytest.raises(InputError, match=f"mask of {height} x {width} tokens"):
                token_positions(selection, size, (width, height))


def test_a_mask_of_a_grid_on_its_side_is_refused_by_name_of_both_grids() -> None:
    with pytest.raises(InputError, match="a mask of 5 x 7 tokens, y x x; expected a mask of 7 x 5"):
        token_positions(token_selection(WIDE), 35, (7, 5))


def test_one_token_named_from_both_ends_is_one_token() -> None:
    assert token_positions(token_selection([34, -1]), 35, None).tolist() == [34]


def test_the_first_token_counted_from_the_end_is_a_position() -> None:
    assert token_positions(token_selection([-35]), 35, None).tolist() == [0]


def test_a_flat_mask_is_tied_by_its_length_alone() -> None:
    flat = token_selection(WIDE.ravel())
    expected = np.flatnonzero(WIDE).tolist()
    assert token_positions(flat, 35, (7, 5)).tolist() == token_positions(flat, 35, None).tolist() == expected
    with pytest.raises(InputError, match="a mask of 35 tokens, token; expected a mask of 34"):
        token_positions(flat, 34, None)


def test_a_flat_labelled_mask_goes_by_its_labels() -> None:
    flat = xr.DataArray([True, False, False], dims="token", coords={"token": [2, 0, 1]})
    assert token_positions(token_selection(flat), 3, None).tolist() == [2]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([], "0 tokens"),
        (np.zeros((0, 3), bool), "0 tokens"),
        ([3, 3], "different whole-number positions"),
        (WIDE.astype(int), "35 tokens of dtype int64"),
        (WIDE.astype(float), "35 tokens of dtype float64"),
        (WIDE[None], "35 tokens of dtype bool"),
        ("all", "dtype <U3"),
        ([1.0], "dtype float64"),
        (BY_NAME.expand_dims("draw"), r"with dims \('draw', 'y', 'x'\)"),
        (BY_NAME.expand_dims("block"), "a token mask for each block without its labels"),
        (BY_NAME.expand_dims(step=[1, 1]), "a token mask for each step without its labels"),
        (BY_NAME.rename(x="column"), "'column'"),
        (BY_NAME[1:], "labels .1, 2, 3, 4. of y"),
        (BY_TOKEN[1:], "34 tokens of a grid of 5 x 7"),
        (BY_TOKEN[BY_TOKEN], "tokens of a grid"),
    ],
)
def test_what_selects_no_tokens_is_refused(tokens, words) -> None:
    with pytest.raises(InputError, match=words):
        token_selection(tokens)


@pytest.mark.parametrize("positions", [5, {5}, range(5, 6), np.int64(5), np.array([5]), torch.tensor([5])])
def test_positions_come_in_many_forms(positions) -> None:
    assert token_selection(positions) == (5,)


@given(st.data(), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_a_mask_of_pixels_selects_tokens_of_which_it_has_half(data, height, width, edge, n_samples) -> None:
    size = n_samples * height * edge * width * edge
    bits = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    pixels = np.reshape(bits, (n_samples, height * edge, width * edge))
    named = xr.DataArray(pixels, dims=("sample", "y_pixel", "x_pixel"))
    selection = token_selection(named.transpose("x_pixel", "sample", "y_pixel"))
    assert has_grid(selection)
    assert differs_by_sample(selection)
    mask = token_mask(selection, height * width, (height, width))
    for sample in range(n_samples):
        for y in range(height):
            for x in range(width):
                cell = pixels[sample, y * edge : (y + 1) * edge, x * edge : (x + 1) * edge]
                assert mask[sample, y * width + x] == (2 * cell.sum() >= edge * edge)
    found = token_positions(selection, height * width, (height, width)).tolist()
    assert found == np.flatnonzero(mask.any(axis=0)).tolist()


@pytest.mark.parametrize(
    ("shape", "grid"), [((10, 14), (7, 5)), ((11, 14), (5, 7)), ((10, 21), (5, 7)), ((4, 7), (5, 7))]
)
def test_a_mask_of_pixels_of_another_image_is_refused(shape, grid) -> None:
    selection = token_selection(xr.DataArray(np.ones(shape, bool), dims=("y_pixel", "x_pixel")))
    with pytest.raises(InputError, match="y_pixel x x_pixel; expected a mask of"):
        token_positions(selection, 35, grid)


def test_masks_by_sample_keep_prompt_and_seed_and_go_by_their_labels() -> None:
    flat = xr.concat([BY_TOKEN, ~BY_TOKEN], "sample").assign_coords(
        prompt=("sample", ["a", "b"]), seed=("sample", [1, 2])
    )
    for form in (flat, flat.isel(token=slice(None, None, -1)), flat.transpose("token", "sample")):
        selection = token_selection(form)
        assert selection.dims == ("sample", "y", "x")
        assert selection["prompt"].values.tolist() == ["a", "b"]
        assert token_mask(selection, 35, (5, 7)).tolist() == [WIDE.ravel().tolist(), (~WIDE).ravel().tolist()]


def test_masks_by_step_and_block_go_by_their_labels() -> None:
    masks = RNG.random((2, 3, 3, 5, 7)) < 0.4
    labels = {"step": [4, 1], "block": [0, 2, 9]}
    selection = token_selection(
        xr.DataArray(masks, dims=("step", "block", "sample", "y", "x"), coords=labels)
    )
    for row, step in enumerate(labels["step"]):
        for column, block in enumerate(labels["block"]):
            here = tokens_at(selection, step, block)
            assert np.array_equal(here.values, masks[row, column])
            expected = np.flatnonzero(masks[row, column].any(axis=0)).tolist()
            assert token_positions(here, 35, (5, 7)).tolist() == expected
    assert (
        token_positions(selection, 35, (5, 7)).tolist() == np.flatnonzero(masks.any(axis=(0, 1, 2))).tolist()
    )
    with pytest.raises(InputError, match="masks of block 0, 2, 9; expected one of block 5 too"):
        tokens_at(selection, 1, 5)
    assert tokens_at((1, 2), 0, 0) == (1, 2)
