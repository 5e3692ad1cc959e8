"""The record of what edits did: energies in float64, few objects, whole tables."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.edits import EditContext, Firings
from ditscope.models.visits import Visit

EDITS = [ds.edits.zero([1]), ds.edits.scale([1, 2], 0.5, stream="text")]


@dataclass
class Block:
    index: int
    name: str


def context(number: int, hidden: torch.Tensor, n_tokens: int = 2) -> EditContext:
    tokens, channels = torch.arange(n_tokens), torch.tensor([0, 2])
    return EditContext(
        old=hidden[:, tokens[:, None], channels],
        acts=None,
        real=None,
        hidden=hidden,
        visit=Visit(number, number // 2, 1 / (number + 1), 1.0, ("cond",)),
        branch=("cond", "uncond")[number % 2],
        block=Block(number % 7, f"single.{number % 7}"),
        site="block_output",
        stream="image",
        samples=(),
        positions=(),
        tokens=tokens,
        channels=channels,
    )


@pytest.mark.parametrize("count", [1, 1023, 1024, 2500])
def test_the_table_is_what_numpy_computes(count) -> None:
    firings, expected = Firings(), []
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        hidden = torch.randn(1 + number % 3, 4, 3, generator=generator)
        place, edit = context(number, hidden, 1 + number % 4), EDITS[number % 2]
        new = place.old * -0.5 + 1
        firings.add(edit, place, new)
        old, after, whole = (tensor.double().numpy() for tensor in (place.old, new, hidden))
        for row in range(len(hidden)):
            expected.append(
                (edit.label, row, number // 2, 1 / (number + 1), place.branch, place.block.index)
                + (place.block.name, "image", "block_output", old.shape[1], 2)
                + ((whole[row] ** 2).sum(), (old[row] ** 2 - after[row] ** 2).sum())
                + (((old[row] - after[row]) ** 2).sum(),)
            )
    table = firings.table()
    assert len(firings) == len(table) == len(expected)
    columns = list(zip(*expected, strict=True))
    for name, column in zip(list(table)[: len(columns)], columns, strict=True):
        if name in ("energy", "removed", "moved"):
            np.testing.assert_allclose(table[name], column, rtol=1e-4, atol=1e-5)
        else:
            assert table[name].tolist() == list(column)
    assert " ".join(table) == (
        "edit row step sigma branch block block_name stream site tokens channels energy removed moved "
        "matched wanted reached"
    )
    assert set(table["matched"]) == {""}
    assert table[["wanted", "reached"]].isna().all(axis=None)
    # What comes after the table was asked for is in the next one.
    firings.add(EDITS[0], context(0, torch.ones(1, 4, 3)), torch.zeros(1, 2, 2))
    assert firings.table()["energy"].tolist() == [*table["energy"], 12.0]


def test_a_firing_costs_bytes_and_not_objects() -> None:
    firings, place, count = Firings(), context(0, torch.ones(1, 1, 1)[:, :, [0, 0, 0]], 1), 30_000
    new = torch.zeros(1, 1, 2)
    firings.add(EDITS[0], place, new)
    tracemalloc.start()
    try:
        for _ in range(count):
            firings.add(EDITS[0], place, new)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 130  # eleven numbers of 8 bytes, and what arrays keep in reserve


def test_no_firings_are_an_empty_table() -> None:
    empty, one = Firings(), Firings()
    one.add(EDITS[0], context(0, torch.ones(1, 4, 3)), torch.zeros(1, 2, 2))
    assert len(empty) == len(empty.table()) == 0
    assert list(empty.table()) == list(one.table())  # whoever asks for the column "row" gets an empty one


def test_firings_are_pickled_and_copied() -> None:
    firings = Firings()
    firings.add(EDITS[0], context(0, torch.ones(2, 4, 3)), torch.zeros(2, 2, 2))
    for copied in (pickle.loads(pickle.dumps(firings)), copy.deepcopy(firings)):
        assert copied.table().equals(firings.table())


@pytest.mark.parametrize("by", ["moved", "removed", "energy"])
def test_tokens_channels_and_what_a_match_reached_are_each_images_own(by) -> None:
    """A mask of tokens and one of channels for each image: image 0 has 1 token and 2 channels, image 1 2 and 1."""
    edit = ds.controls.matched(ds.edits.zero([1]), by)
    hidden = torch.randn(2, 3, 3)
    tokens, channels = (
        torch.tensor([[1, 0], [1, 1]]).bool()[:, :, None],
        torch.tensor([[1, 1], [0, 1]]).bool()[:, None],
    )
    place = dataclasses.replace(context(0, hidden), acts=tokens & channels)
    new = torch.where(place.acts, 0.5 * place.old, place.old)
    firings = Firings()
    firings.add(edit, place, new, torch.tensor([2.0, 4.0]))
    firings.add(edit, place, new, torch.tensor([2.0, 4.0]))
    table, placed = firings.table(), firings.by_place()
    assert table["tokens"].tolist() == [1, 2] * 2
    assert table["channels"].tolist() == [2, 1] * 2
    size = [hidden[0, 0, [0, 2]].square().sum(), hidden[1, :2, 2].square().sum()]
    reached = [{"moved": 0.25, "removed": 0.75, "energy": 1.0}[by] * float(each) for each in size]
    assert table["reached"].tolist() == pytest.approx(reached * 2)
    assert table["wanted"].tolist() == [2, 4] * 2
    assert set(table["matched"]) == {by}
    assert placed["match_ratio"].item() == pytest.approx(sum(reached) / 6)


def test_places_are_the_tables_own_sums_and_nan_stays() -> None:
    firings = Firings()
    for number in range(6):
        hidden = torch.full((2, 3, 4), float("nan")) if number == 5 else torch.randn(2, 3, 4)
        firings.add(EDITS[number == 3], context(number, hidden), torch.zeros(2, 2, 2))
    placed, table = firings.by_place(), firings.table()
    assert dict(placed.sizes) == {"edit": 2, "step": 3, "block": 6}
    for (edit, step, block), part in table.groupby(["edit", "step", "block"]):
        here = placed.sel(edit=edit, step=step, block=block)
        assert here["fired"] == len(part) == 2
        assert here["block_name"] == f"single.{block}"
        assert np.isnan(here["match_ratio"])
        for name in ("energy", "removed", "moved"):
            assert np.isnan(here[name]) if block == 5 else here[name] == pytest.approx(part[name].sum())
        assert (
            np.isnan(here["l2_moved"])
            if block == 5
            else here["l2_moved"] ** 2 == pytest.approx(part["moved"].sum())
        )
    assert placed["fired"].sum() == len(table)
    assert Firings().by_place().sizes == {"edit": 0, "step": 0, "block": 0}
