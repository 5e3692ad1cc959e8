"""Edits of channels against plain PyTorch hooks that do the same, and the record of what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import EditedVisit, Scope
from ditscope.errors import EditError, InputError
from ditscope.tracing.run import run_traced

SAMPLES = [("a red circle", 5), ("a white star", 6)]
PROMPTS, SEEDS = map(list, zip(*SAMPLES, strict=True))
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
N_STEPS, TOKENS = 2, 96
IDS = [3, 77, 120]
MASK = np.zeros((8, 12), dtype=bool)
MASK[2:5, 7:] = True
BY_BLOCK = ChannelSet.of({0: [1, 2], 6: [90]})


def edited(dit, *edits: ds.edits.Edit) -> tuple[np.ndarray, pd.DataFrame]:
    visitor = EditedVisit(dit, edits, N_STEPS)
    images = run_traced(dit, SAMPLES, visitor, **CALL).images
    visitor.require_fired()
    return images, visitor.firings.table()


@pytest.fixture(scope="module")
def bare(untrained_folder) -> Any:
    return bare_pipeline.opened(untrained_folder)


@pytest.fixture(scope="module")
def plain(bare) -> bare_pipeline.Seen:
    return bare_pipeline.generate(bare, PROMPTS, SEEDS, **CALL)


Rule = Callable[[torch.Tensor], torch.Tensor]


def hook(rule: Rule, covers: Callable[[int, int], bool], tokens: Any, ids: Any) -> bare_pipeline.Edit:
    """A plain hook: ``rule`` of some tokens and channels, in the visits and blocks that ``covers`` says."""

    def edit(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if not covers(visit, block):
            return tensor
        tensor = tensor.clone()
        channels = ids(block) if callable(ids) else ids
        rows = list(range(tensor.shape[1])) if tokens is None else tokens
        new = rule(tensor[:, rows][:, :, channels])
        for position, channel in enumerate(channels):
            tensor[:, rows, channel] = new[:, :, position]
        return tensor

    return edit


def own_mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean(dim=1, keepdim=True).expand_as(values)


EVERYWHERE = lambda visit, block: True  # noqa: E731
CASES: dict[str, tuple[ds.edits.Edit, tuple[str, str], Rule, Any, Any, Any]] = {
    "zero": (ds.edits.zero(IDS), ("block_output", "image"), torch.zeros_like, EVERYWHERE, None, IDS),
    "scale": (
        ds.edits.scale(IDS, -2.5),
        ("block_output", "image"),
        lambda v: v * -2.5,
        EVERYWHERE,
        None,
        IDS,
    ),
    "mean": (ds.edits.mean(IDS), ("block_output", "image"), own_mean, EVERYWHERE, None, IDS),
    "at the input": (
        ds.edits.zero(IDS, site="block_input"),
        ("block_input", "image"),
        torch.zeros_like,
        EVERYWHERE,
        None,
        IDS,
    ),
    "text stream": (
        ds.edits.scale(IDS, 3.0, stream="text", tokens=[0, -1]),
        ("block_output", "text"),
        lambda v: v * 3,
        EVERYWHERE,
        [0, 23],
        IDS,
    ),
    "blocks by index and name": (
        ds.edits.zero(IDS, blocks=[1, "single.3"]),
        ("block_output", "image"),
        torch.zeros_like,
        lambda visit, block: block in (1, 7),
        None,
        IDS,
    ),
    "blocks by negative index and kind": (
        ds.edits.zero(IDS, blocks=[-1, "double"]),
        ("block_output", "image"),
        torch.zeros_like,
        lambda visit, block: block in (0, 1, 2, 3, 9),
        None,
        IDS,
    ),
    "one step": (
        ds.edits.zero(IDS, steps=-1),
        ("block_output", "image"),
        torch.zeros_like,
        lambda visit, block: visit // 2 == 1,
        None,
        IDS,
    ),
    "one branch": (
        ds.edits.zero(IDS, branches="uncond"),
        ("block_output", "image"),
        torch.zeros_like,
        lambda visit, block: visit % 2 == 1,
        None,
        IDS,
    ),
    "a mask of the grid": (
        ds.edits.mean(IDS, tokens=MASK),
        ("block_output", "image"),
        own_mean,
        EVERYWHERE,
        np.flatnonzero(MASK).tolist(),
        IDS,
    ),
    "channels of some blocks": (
        ds.edits.zero(BY_BLOCK),
        ("block_output", "image"),
        torch.zeros_like,
        lambda visit, block: block in (0, 6),
        None,
        lambda block: {0: [1, 2], 6: [90]}[block],
    ),
    "all of it": (
        ds.edits.scale(BY_BLOCK, 0.25, blocks="double.0", steps=[0], branches=["cond"], tokens=[5, 17, 95]),
        ("block_output", "image"),
        lambda v: v * 0.25,
        lambda visit, block: (visit, block) == (0, 0),
        [5, 17, 95],
        [1, 2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_what_a_plain_hook_does_and_its_energies_are_what_changed(dit, bare, plain, name) -> None:
    edit, place, rule, covers, tokens, ids = CASES[name]
    plain_hook = hook(rule, covers, tokens, ids)
    before: dict[tuple[int, int], torch.Tensor] = {}

    def watching(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        before[visit, block] = tensor.clone()
        return plain_hook(visit, block, tensor)

    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={place: watching}, **CALL)
    images, table = edited(dit, edit)
    assert np.array_equal(images, expected.images)
    assert not np.array_equal(images, plain.images)

    # Where it fired: every covered place, once for each image of the batch.
    places = [(visit, block) for visit in range(4) for block in range(10) if covers(visit, block)]
    branch = np.where(table["branch"] == "cond", 0, 1)
    fired = list(zip(table["step"] * 2 + branch, table["block"], table["row"], strict=True))
    assert fired == [(*place, row) for place in places for row in (0, 1)]
    assert set(table["site"]) == {place[0]}
    assert set(table["stream"]) == {place[1]}
    # What it did there.
    for entry in table.itertuples():
        visit, block = entry.step * 2 + (entry.branch == "uncond"), entry.block
        old = before[visit, block][entry.row].double().numpy()
        new = expected.hidden[visit, block, *place][entry.row].double().numpy()
        assert entry.energy == pytest.approx((old**2).sum(), rel=1e-5)
        scale = (old[:, IDS] ** 2).sum() + 1e-6
        assert entry.removed == pytest.approx((old**2).sum() - (new**2).sum(), rel=1e-4, abs=1e-4 * scale)
        assert entry.moved == pytest.approx(((old - new) ** 2).sum(), rel=1e-4)
        assert entry.tokens == (old.shape[0] if tokens is None else len(tokens))
        assert entry.channels == len(ids(block) if callable(ids) else ids)
        assert entry.block_name == dit.blocks[block].name
        assert entry.sigma == pytest.approx(expected.scheduler[entry.step][0])


def test_a_calibrated_mean_sets_the_given_level(dit, bare) -> None:
    levels = xr.DataArray(
        np.random.default_rng(0).normal(size=(128, 10)),
        dims=("channel", "block"),
        coords={"channel": range(128), "block": range(10)},
    )

    def level(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        for channel in IDS:
            tensor[:, :, channel] = float(np.float32(levels.sel(channel=channel, block=block)))
        return tensor

    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): level}, **CALL)
    assert np.array_equal(edited(dit, ds.edits.mean(IDS, calibration=levels))[0], expected.images)


@pytest.mark.parametrize(
    "edits",
    [
        [ds.edits.scale(range(128), 1.0)],
        [ds.edits.scale(IDS, 1.0, site="block_input"), ds.edits.scale(IDS, 1.0, stream="text")],
        # Two edits of one place are applied one after the other: halving is exact.
        [ds.edits.scale(IDS, 0.5), ds.edits.scale(IDS, 2.0)],
    ],
)
def test_edits_that_come_to_nothing_give_the_same_image(dit, plain, edits) -> None:
    images, table = edited(dit, *edits)
    assert np.array_equal(images, plain.images)
    if len(edits) == 1:
        assert not table[["removed", "moved"]].to_numpy().any()


def test_bfloat16_is_edited_in_bfloat16(untrained_folder) -> None:
    dit = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    bare = bare_pipeline.opened(untrained_folder, torch.bfloat16)

    def mean(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[:, :, IDS] = own_mean(tensor[:, :, IDS].float()).to(torch.bfloat16)
        return tensor

    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): mean}, **CALL)
    assert np.array_equal(edited(dit, ds.edits.mean(IDS))[0], expected.images)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (ds.edits.zero(IDS, blocks=["single.6"]), "block 'single.6'"),
        (ds.edits.zero(IDS, blocks=[10]), "block 10"),
        (ds.edits.zero(IDS, blocks=-11), "block -11"),
        (ds.edits.zero(IDS, blocks="triple"), "block 'triple'"),
        (ds.edits.zero(IDS, steps=[2]), "step 2"),
        (ds.edits.zero(IDS, steps=[-3]), "step -3"),
        (ds.edits.zero([3, 128]), "channel 128"),
        (ds.edits.zero({4: [127], 5: [500]}), "channel 500"),
        (ds.edits.zero(ChannelSet.of(IDS, stream="text"), stream="image"), "channels of the text stream"),
        (ds.edits.zero(BY_BLOCK, blocks=[0, 1]), "no channels for block double.1"),
        (ds.edits.zero(BY_BLOCK, blocks=[-10, -9]), "no channels for block double.1"),
    ],
)
def test_what_the_model_does_not_have_is_refused_before_a_run(dit, edit, told) -> None:
    with pytest.raises(InputError, match="expected") as error:
        EditedVisit(dit, [edit], N_STEPS)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ds.edits.zero([]), "channels"),
        (lambda: ds.edits.zero([-1]), "channels"),
        (lambda: ds.edits.zero([3, 3]), "channels"),
        (lambda: ds.edits.zero("37"), "channels"),
        (lambda: ds.edits.zero(None), "channels of type NoneType"),
        (lambda: ds.edits.zero(12), "channels of type int"),
        (lambda: ds.edits.zero(IDS, block=3), "scope block"),
        (lambda: ds.edits.zero(IDS, stream="sound"), "stream 'sound'"),
        (lambda: ds.edits.zero(IDS, site="mlp"), "site 'mlp'"),
        (lambda: ds.edits.zero(IDS, branches=["positive"]), "branch 'positive'"),
        (lambda: ds.edits.zero(IDS, blocks=[]), "no blocks"),
        (lambda: ds.edits.zero(IDS, steps=()), "no steps"),
        (lambda: ds.edits.zero(IDS, tokens=MASK.astype(int)), "tokens of dtype int"),
        (lambda: ds.edits.zero(IDS, tokens=MASK.astype(float)), "tokens of dtype float"),
        (lambda: ds.edits.zero(IDS, tokens=[]), "0 tokens"),
        (lambda: ds.edits.mean(IDS, calibration=xr.DataArray(np.zeros(3), dims="channel")), "calibration"),
    ],
)
def test_what_no_model_has_is_refused_when_the_edit_is_made(make, told) -> None:
    with pytest.raises(InputError, match="expected") as error:
        make()
    assert told in str(error.value)


@pytest.mark.parametrize("tokens", [np.ones(95, dtype=bool), np.ones((9, 12), dtype=bool), [96], [-97]])
def test_tokens_that_do_not_fit_the_run_are_refused(dit, tokens) -> None:
    with pytest.raises(InputError, match="a mask of 96 tokens, or positions under 96"):
        edited(dit, ds.edits.zero(IDS, tokens=tokens))


def test_a_calibration_that_lacks_a_channel_is_refused(dit) -> None:
    levels = xr.DataArray(
        np.zeros((10, 4)), dims=("block", "channel"), coords={"block": range(10), "channel": range(4)}
    )
    with pytest.raises(InputError, match="no calibration mean for double.0"):
        edited(dit, ds.edits.mean(IDS, calibration=levels))


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ([ds.edits.zero(IDS, tokens=np.zeros(TOKENS, dtype=bool))], 0),
        # Both have the same label; only one fires.
        ([ds.edits.zero(IDS), ds.edits.zero(IDS, tokens=np.zeros(TOKENS, dtype=bool))], 1),
        ([ds.edits.zero(IDS), ds.edits.zero([5], branches="uncond")], 1),
    ],
)
def test_an_edit_that_never_fires_is_an_error(dit, edits, named) -> None:
    visitor = EditedVisit(dit, edits, N_STEPS)
    run_traced(dit, SAMPLES[:1], visitor, num_inference_steps=2, **bare_pipeline.PLAIN)
    with pytest.raises(EditError, match="fired nowhere") as error:
        visitor.require_fired()
    assert str(edits[named].scope) in str(error.value)


def test_draws_are_taken_one_at_a_time(dit) -> None:
    ids = xr.DataArray([[[1, 2], [3, 4]]] * 10, dims=("block", "draw", "rank"), coords={"block": range(10)})
    edit = ds.edits.zero(ChannelSet(ids, label="random 2"))
    assert edit.draws == 2
    assert edit.draw(1).channels_at(dit.blocks[4]).tolist() == [3, 4]
    assert "zero random 2" in repr(edit)


def test_scopes_count_steps_from_either_end(dit) -> None:
    from ditscope.models.visits import Visit

    scope = Scope(steps=[0, -1], blocks="double.2")
    covered = [scope.covers(Visit(step, step, 1.0, 1.0, ("cond",)), 5) for step in range(5)]
    assert covered == [True, False, False, False, True]
    assert scope.chosen(dit.blocks) == (2,)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ds.edits.zero([3], steps=["a"]), "step indices"),
        (lambda: ds.edits.zero([3], steps=1.5), "step indices"),
        (lambda: ds.edits.zero([3], blocks=[None]), "found block None; expected an index"),
        (lambda: ds.edits.scale([3], "x"), "a number"),
        (lambda: ds.edits.mean([3], calibration=3), "a DataArray"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused_in_plain_words(make, words) -> None:
    with pytest.raises(ds.errors.InputError, match=words):
        make()
