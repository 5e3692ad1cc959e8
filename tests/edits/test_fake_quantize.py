"""Rounded channels against plain hooks, in which every number is rounded by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.errors import InputError
from ditscope.passes import Scheme

IDS = [3, 77, 120]
OTHERS = [channel for channel in range(128) if channel not in IDS]


def to_int8(values: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    step = values.abs().amax(dim=dims, keepdim=True) / 127
    return (values / step).round() * step


@pytest.mark.parametrize(
    ("per", "dims"),
    [("tensor", (1, 2)), ("channel", (1,)), ("token", (2,))],
    ids=["tensor", "channel", "token"],
)
def test_integers_are_what_a_plain_hook_makes_of_each_image(assert_does, per, dims) -> None:
    edit = ds.edits.fake_quantize(IDS, f"int8 per {per}")
    assert_does(edit, lambda values: to_int8(values, dims), ids=IDS)


def test_channels_that_are_spared_are_in_no_scale(assert_does) -> None:
    edit = ds.edits.fake_quantize(IDS, "int8 per tensor", spare=True)
    assert_does(edit, lambda values: to_int8(values, (1, 2)), ids=OTHERS)
    with pytest.raises(InputError, match="no channels to spare"):
        ds.edits.fake_quantize(None, "mx6", spare=True)


def test_blocks_share_an_exponent(at_place) -> None:
    hidden = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 40)
    new = ds.edits.fake_quantize(None, Scheme(3, "block", 8)).values(at_place(hidden)).numpy()
    for row, token, start in np.ndindex(2, 5, 5):
        own = hidden[row, token, start * 8 : start * 8 + 8].double().numpy()
        step = 2.0 ** (np.floor(np.log2(abs(own).max())) - 2)
        expected = np.clip(np.round(own / step), -7, 7) * step
        assert np.array_equal(new[row, token, start * 8 : start * 8 + 8], expected)


def test_what_does_not_act_is_in_no_scale(at_place) -> None:
    hidden = torch.tensor([[[1.0, 0.3], [90.0, 100.0]]])
    acts = torch.tensor([[[True], [False]]])
    edit = ds.edits.fake_quantize(None, Scheme(1, "tensor"))
    assert edit.values(at_place(hidden, acts=acts))[0, 0].tolist() == [1.0, 0.0]


def test_a_scheme_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="'int3'"):
        ds.edits.fake_quantize(IDS, "int3")
    with pytest.raises(InputError, match="bits"):
        ds.edits.fake_quantize(IDS, Scheme(0))


def test_the_label_says_the_scheme() -> None:
    assert ds.edits.fake_quantize(IDS, "mx6").label == "round to mx6 in explicit channels"
    spared = ds.edits.fake_quantize(IDS, Scheme(5), spare=True)
    assert spared.label == "round to 6 bits per tensor in all but explicit channels"
