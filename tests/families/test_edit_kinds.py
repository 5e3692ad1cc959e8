"""Every kind of edit on every family: all of them at one place, one after the other, as by hand in a plain hook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plain_hooks
import torch
import xarray as xr
from family_calls import IN_A_WAY, IN_BOTH, N_STEPS, SEEDS, batch, branches, call

import ditscope as ds
import edits_by_hand
from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import Edit
from ditscope.tracing.run import run_traced

WIDTH, BLOCK, STEP = 32, 1, 1
FACTORS = [0.5, -1.5]
DIRECTIONS = np.random.default_rng(0).normal(size=(2, WIDTH)).astype(np.float32)
KEPT = [channel for channel in range(WIDTH) if channel not in (29, 30)]

Rule = Callable[[torch.Tensor, Sequence[tuple[str, int]], tuple], torch.Tensor]
"""New values of old ones ``[row, token, channel]`` in float32, the samples and the place."""


def averaged(old: torch.Tensor, *_: Any) -> torch.Tensor:
    return old.mean(dim=1, keepdim=True).expand_as(old)


def in_int8(old: torch.Tensor, *_: Any) -> torch.Tensor:
    step = old.abs().amax(dim=(1, 2), keepdim=True) / 127
    return (old / step).round() * step


def without_the_largest(old: torch.Tensor, *_: Any) -> torch.Tensor:
    own = old.double().abs().mean(dim=1).argsort(dim=1, descending=True)[:, :2]
    return old.masked_fill(torch.zeros(len(old), WIDTH).scatter_(1, own, 1).bool()[:, None], 0)


def halved_elsewhere(dtype: torch.dtype) -> Rule:
    """Halve random channels, as many as change by as much as channel 31 would."""

    def rule(old, samples, place):
        new = old.clone()
        for row, sample in enumerate(samples):
            changed = (0.5 * old[row]).to(dtype).double().numpy()
            moved = ((old[row].double().numpy() - changed) ** 2).sum(axis=0)
            order = edits_by_hand.random_of(sample).permutation(WIDTH)
            others = order[order != 31]
            count = int(np.argmin(abs(np.cumsum(moved[others]) - moved[31]))) + 1
            new[row][:, others[:count]] *= 0.5
        return new

    return rule


def kinds(
    grid: tuple[int, int], dtype: torch.dtype, where: dict[str, Any]
) -> list[tuple[Edit, Sequence[int], Rule]]:
    """Each kind, the channels that it changes, and the same by hand."""
    e, given = ds.edits, np.random.default_rng(1).normal(size=(*grid, WIDTH)).astype(np.float32)
    every, flat = range(WIDTH), torch.tensor(given.reshape(-1, WIDTH))
    by_step = xr.DataArray(FACTORS, dims="step", coords={"step": [0, 1]})
    return [
        (e.zero([0, 1], **where), [0, 1], lambda old, *_: 0 * old),
        (e.mean([2, 3], **where), [2, 3], averaged),
        (e.scale([4, 5], by_step, **where), [4, 5], lambda old, *_: old * FACTORS[STEP]),
        (e.clamp([6, 7], -0.1, 0.2, **where), [6, 7], lambda old, *_: old.clamp(-0.1, 0.2)),
        (
            e.noise([8, 9], **where),
            [8, 9],
            lambda old, samples, place: edits_by_hand.noise(old, samples, place, [8, 9]),
        ),
        (e.shuffle([10, 11], **where), [10, 11], edits_by_hand.shuffled),
        (e.flip_sign([12, 13], **where), [12, 13], lambda old, *_: -old),
        (e.constant_only([14, 15], **where), [14, 15], averaged),
        (e.variation_only([16, 17], **where), [16, 17], lambda old, *_: old - averaged(old)),
        (
            e.add(
                DIRECTIONS[0], 0.5, channels=[18, 19, 20], unit="token_norm", norm_preserving=True, **where
            ),
            [18, 19, 20],
            lambda old, *_: edits_by_hand.turned(old, torch.tensor(DIRECTIONS[0, 18:21]), 0.5),
        ),
        (
            e.project_out(DIRECTIONS, channels=[21, 22, 23], **where),
            [21, 22, 23],
            lambda old, *_: edits_by_hand.without(old, DIRECTIONS[:, 21:24]),
        ),
        (
            e.replace([24, 25], xr.DataArray(given, dims=("y", "x", "channel")), **where),
            [24, 25],
            lambda old, *_: flat[:, 24:26].expand_as(old),
        ),
        (
            e.function([26, 27], lambda context: context.old.sin(), **where),
            [26, 27],
            lambda old, *_: old.sin(),
        ),
        (
            e.fake_quantize([28], "int8 per tensor", **where),
            [28],
            in_int8,
        ),
        (e.keep_only(KEPT, **where), [29, 30], lambda old, *_: 0 * old),
        (e.zero(ds.controls.top(2), **where), every, without_the_largest),
        (ds.controls.matched(e.scale([31], 0.5, **where)).draw(0), every, halved_elsewhere(dtype)),
    ]


@IN_A_WAY
def test_every_kind_is_what_a_plain_hook_does(opened, folder_of, plainly, name, dtype, square) -> None:
    """Both branches; in float32, where there is bfloat16 too, the conditional one alone."""
    alone = dtype == torch.float32 and name in IN_BOTH
    dit, acting = opened(name, dtype), branches(name)[:1] if alone else branches(name)
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    found: dict[int, torch.Tensor] = {}
    sizes = call(name, square)
    edge = {"height": 2, "width": 2 if square else 3}
    n_tokens = plainly(name, dtype, square)[0].hidden[0, BLOCK, "image"].shape[1]
    unit = int((n_tokens / (edge["height"] * edge["width"])) ** 0.5)
    grid = (edge["height"] * unit, edge["width"] * unit)
    made = kinds(grid, dtype, {"blocks": BLOCK, "steps": STEP, "branches": acting})

    guided = len(branches(name)) > 1
    rows_at = [(plain_hooks.branch_rows(name, guided, STEP, branch, images=2), branch) for branch in acting]

    def by_hand(visit: int, image: torch.Tensor) -> torch.Tensor:
        for (at, rows), branch in rows_at:
            for _, ids, rule in made if at == visit else ():
                place = (STEP, branch, BLOCK, "image", "block_output")
                old = image[rows][:, :, list(ids)].float()
                image[rows, :, list(ids)] = rule(old, samples, place).to(dtype)
        return image

    visitor = EditedVisit(dit, [edit for edit, *_ in made], range(N_STEPS))

    def at_visit(visit) -> None:
        for block in dit.blocks:
            visitor.apply_at(visit, block, "block_output", "image")
            if block.index == BLOCK:
                found[visit.index] = block.read("block_output", "image").clone()

    images = run_traced(dit, samples, at_visit, **sizes).images
    visitor.require_fired()
    pipeline = plain_hooks.opened(folder_of(name), dtype)
    seen = plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, (BLOCK, by_hand), **sizes)
    for visit, hidden in found.items():
        different = (hidden != seen.hidden[visit, BLOCK, "image"]).any(dim=1).any(dim=0)
        assert not different.any(), f"visit {visit}, channels {different.nonzero().flatten().tolist()}"
    assert np.array_equal(images, seen.images)
    assert not np.array_equal(images, plainly(name, dtype, square)[0].images)
    table = visitor.firings.table()
    assert len(table) == len(made) * len(acting) * 2
    assert (table.groupby("edit")["moved"].sum() > 0).all()


NOTHING = [
    ds.edits.scale(None, 1.0),
    ds.edits.scale(None, [(0.0, 1.0), (1.0, 1.0)]),
    ds.edits.clamp(None, -3e38, 3e38),
    ds.edits.noise([1, 2, 3], 0.0),
    ds.edits.shuffle(None, tokens=[1]),
    ds.edits.mean(None, tokens=[1]),
    ds.edits.constant_only(None, tokens=[1]),
    ds.edits.variation_only(None, 0.0),
    ds.edits.keep_only(range(WIDTH)),
    ds.edits.keep_only(range(WIDTH), "mean"),
    ds.edits.add(DIRECTIONS[0], 0.0),
    ds.edits.add(DIRECTIONS[0], 0.0, unit="token_norm", norm_preserving=True),
    ds.edits.project_out(DIRECTIONS, 0.0),
    ds.edits.function(None, lambda context: context.old),
    ds.edits.flip_sign(None),
    ds.edits.flip_sign(None),  # and back
    ds.controls.matched(ds.edits.scale([1], 1.0)).draw(0),
]


@IN_A_WAY
def test_what_comes_to_nothing_gives_the_bare_image(opened, plainly, name, dtype, square) -> None:
    visitor = EditedVisit(opened(name, dtype), NOTHING, range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    images = run_traced(opened(name, dtype), samples, visitor, **call(name, square)).images
    visitor.require_fired()
    assert np.array_equal(images, plainly(name, dtype, square)[0].images)
