"""Edited runs of the untrained pipeline, and the plain PyTorch hooks that do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from edited_samples import CALL, PROMPTS, SEEDS

import bare_pipeline
from ditscope.edits import Edit, EditContext, EditedVisit
from ditscope.models.visits import Visit
from ditscope.tracing.run import run_traced

Rule = Callable[..., torch.Tensor]


@pytest.fixture(scope="session")
def bare(untrained_folder) -> Any:
    return bare_pipeline.opened(untrained_folder)


@pytest.fixture(scope="session")
def plain(bare) -> bare_pipeline.Seen:
    """The run without edits."""
    return bare_pipeline.generate(bare, PROMPTS, SEEDS, **CALL)


@pytest.fixture(scope="session")
def edited(dit) -> Callable[..., tuple[np.ndarray, pd.DataFrame]]:
    """Images and firings of a run under edits."""

    def run(*edits: Edit, model: Any = dit) -> tuple[np.ndarray, pd.DataFrame]:
        visitor = EditedVisit(model, edits, range(2))
        images = run_traced(model, list(zip(PROMPTS, SEEDS, strict=True)), visitor, **CALL).images
        visitor.require_fired()
        return images, visitor.firings.table()

    return run


@pytest.fixture(scope="session")
def assert_does(dit, bare, plain, edited) -> Callable[..., None]:
    """Assert that an edit does, bit for bit, what a plain hook does, and reports what changed."""

    def check(
        edit: Edit,
        rule: Rule,
        *,
        ids: Any,
        covers: Callable[[int, int], bool] = lambda visit, block: True,
        tokens: list[int] | None = None,
        place: tuple[str, str] = ("block_output", "image"),
        placed: bool = False,
        n_channels: int | None = None,
    ) -> None:
        """``placed`` says that the rule takes step, branch, block, stream and site too; ``n_channels`` acted of ids."""
        before: dict[tuple[int, int], torch.Tensor] = {}

        def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
            before[visit, block] = tensor.clone()
            if not covers(visit, block):
                return tensor
            tensor = tensor.clone()
            channels = ids(block) if callable(ids) else ids
            rows = list(range(tensor.shape[1])) if tokens is None else tokens
            where = (visit // 2, ("cond", "uncond")[visit % 2], block, place[1], place[0])
            new = rule(tensor[:, rows][:, :, channels], *([where] if placed else []))
            for position, channel in enumerate(channels):
                tensor[:, rows, channel] = new[:, :, position]
            return tensor

        expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={place: hook}, **CALL)
        images, table = edited(edit)
        assert np.array_equal(images, expected.images)
        assert not np.array_equal(images, plain.images)

        # Where it fired: every covered place, once for each image of the batch.
        places = [(visit, block) for visit in range(4) for block in range(10) if covers(visit, block)]
        branch = np.where(table["branch"] == "cond", 0, 1)
        fired = list(zip(table["step"] * 2 + branch, table["block"], table["row"], strict=True))
        assert fired == [(*at, row) for at in places for row in (0, 1)]
        assert set(table["site"]) == {place[0]}
        assert set(table["stream"]) == {place[1]}
        assert set(table["edit"]) == {edit.label}
        # What it did there.
        for entry in table.itertuples():
            visit, block = entry.step * 2 + (entry.branch == "uncond"), entry.block
            channels = ids(block) if callable(ids) else ids
            old = before[visit, block][entry.row].double().numpy()
            new = expected.hidden[visit, block, *place][entry.row].double().numpy()
            assert entry.energy == pytest.approx((old**2).sum(), rel=1e-5)
            size = (old[:, channels] ** 2).sum() + 1e-6
            assert entry.removed == pytest.approx((old**2).sum() - (new**2).sum(), rel=1e-4, abs=1e-4 * size)
            assert entry.moved == pytest.approx(((old - new) ** 2).sum(), rel=1e-4)
            assert entry.tokens == (old.shape[0] if tokens is None else len(tokens))
            assert entry.channels == (len(channels) if n_channels is None else n_channels)
            assert entry.block_name == dit.blocks[block].name
            assert entry.sigma == pytest.approx(expected.scheduler[entry.step][0])

    return check


@dataclass
class Block:
    """What an edit asks of a block."""

    index: int
    kind: str = "single"

    @property
    def name(self) -> str:
        return f"single.{self.index}"


@pytest.fixture(scope="session")
def at_place() -> Callable[..., EditContext]:
    """A context for values ``[row, token, channel]`` of all channels, or of some."""

    def made(
        hidden: torch.Tensor,
        *,
        ids: Sequence[int] | None = None,
        acts: torch.Tensor | None = None,
        samples: Sequence[tuple[Any, Any]] = (("a", 1), ("b", 2)),
        first: int = 0,
        step: int = 0,
        block: int = 3,
        branch: str = "cond",
        grid: tuple[int, int] | None = None,
    ) -> EditContext:
        channels = torch.arange(hidden.shape[2]) if ids is None else torch.tensor(ids)
        return EditContext(
            old=hidden[:, :, channels].float(),
            acts=acts,
            hidden=hidden,
            visit=Visit(step, step, 1 - step / 4, 1.0, (branch,)),
            branch=branch,
            block=Block(block),  # type: ignore[arg-type]
            site="block_output",
            stream="image",
            samples=tuple(samples[: len(hidden)]),
            positions=tuple(range(first, first + len(hidden))),
            tokens=torch.arange(hidden.shape[1]),
            channels=channels,
            grid=grid,
        )

    return made
