"""The control that changes as much as the edit under test: against plain hooks with numpy, and in a comparison."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
import ditscope as ds
import edits_by_hand
from ditscope.edits import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

SAMPLES = [("a red circle", 5), ("a white star", 6)]
PROMPTS, SEEDS = zip(*SAMPLES, strict=True)
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
OWN = [3, 77]
EDIT = ds.edits.scale(OWN, 0.25, blocks=[2, 6])


def test_it_is_what_a_plain_hook_does(dit, untrained_folder) -> None:
    """Chosen in float64 by numpy, in the hidden states of the edited run itself."""
    expected: list[tuple[float, float, int]] = []

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in (2, 6):
            return tensor
        new = tensor.clone()
        for row, sample in enumerate(SAMPLES):
            old = tensor[row].numpy().astype(np.float64)
            moved = ((0.75 * old) ** 2).sum(axis=0)
            order = edits_by_hand.random_of(sample, seed=4, draw=1).permutation(128)
            others = order[~np.isin(order, OWN)]
            sums, wanted = np.cumsum(moved[others]), moved[OWN].sum()
            count = int(np.argmin(abs(sums - wanted))) + 1
            new[row][:, others[:count]] = tensor[row][:, others[:count]] * 0.25
            expected.append((wanted, sums[count - 1], count))
        return new

    bare = bare_pipeline.opened(untrained_folder)
    hooks = {("block_output", "image"): hook}
    images = bare_pipeline.generate(bare, list(PROMPTS), list(SEEDS), edits=hooks, **CALL).images
    visitor = EditedVisit(dit, [ds.controls.matched(EDIT, draws=2, seed=4).draw(1)], range(2))
    assert np.array_equal(run_traced(dit, SAMPLES, visitor, **CALL).images, images)
    table = visitor.firings.table()
    wanted, reached, counts = zip(*expected, strict=True)
    np.testing.assert_allclose(table["wanted"], wanted, rtol=1e-5)
    np.testing.assert_allclose(table["reached"], reached, rtol=1e-4)
    np.testing.assert_allclose(table["moved"], reached, rtol=1e-4)
    assert table["channels"].tolist() == list(counts)
    assert set(table["matched"]) == {"moved"}


def test_a_comparison_says_what_was_matched_and_reached(dit) -> None:
    own = ds.ChannelSet.of(OWN, label="two")
    edit = ds.edits.zero(own)
    recorded = {block: [5, 9] for block in range(10)}
    frozen = ds.ChannelSet.of(recorded, label="frozen", control=True)
    ratio = frozen.ids.isel(rank=0, drop=True).astype(float) * 0 + 0.5
    frozen = ds.ChannelSet(frozen.ids, "image", "energy-matched to two", ratio, True, "recorded energy")
    result = ds.compare(
        dit,
        ["a red circle"],
        [5, 6],
        {
            "own": edit,
            "moved": ds.controls.matched(edit, draws=2),
            "removed": ds.controls.matched(edit, "removed", draws=1),
            "frozen": ds.edits.zero(frozen),
        },
        ["psnr"],
        num_inference_steps=1,
        batch_size=2,
        resamples=20,
    )
    assert result["matched_to"].values.tolist() == [
        "",
        "random channels of the squared change of two",
        "random channels of the energy removed of two",
        "energy-matched to two",
    ]
    assert result["control"].values.tolist() == [False, True, True, True]
    ratio = result["match_ratio"]
    assert dict(ratio.sizes) == {"edit": 4, "draw": 2, "sample": 2}
    assert ratio.sel(edit="own").isnull().all()
    assert ratio.isel(edit=[2, 3], draw=1).isnull().all()
    assert (ratio.sel(edit="frozen", draw=0) == 0.5).all()
    close = ratio.sel(edit=["moved", "removed"]).values
    assert (abs(close[~np.isnan(close)] - 1) < 0.25).all()
    assert len(np.unique(close)) > 4


def test_a_control_is_the_same_kind_of_edit_in_the_same_scope() -> None:
    made = ds.controls.matched(EDIT, "energy", draws=3)
    assert (type(made), made.scope, made.factor, made.control, made.draws) == (
        type(EDIT),
        EDIT.scope,
        0.25,
        True,
        3,
    )
    assert made.label == "scale by 0.25 random channels of the energy before the edit of explicit channels"
    text = ds.edits.zero([1], stream="text")
    assert ds.controls.matched(text).channels.stream == "text"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ds.controls.matched(ds.edits.zero(None)), "all channels"),
        (lambda: ds.controls.matched(ds.controls.matched(EDIT)), "5 draws"),
        (lambda: ds.controls.matched(EDIT, "norm"), "by 'norm'"),
        (lambda: ds.controls.matched(EDIT, per="block"), "per 'block'"),
        (lambda: ds.controls.matched(EDIT, draws=0), "count=0"),
    ],
)
def test_what_cannot_be_matched_is_refused(call, words) -> None:
    with pytest.raises(InputError, match=words):
        call()
