"""A sweep's store, written without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ditscope.experiments.outline import Outline, RunKey
from ditscope.experiments.scoring import Scored
from ditscope.experiments.sweep_store import opened

METRIC = {"metric": "psnr", "unit": "dB", "paired": True, "over": "image", "binary": False}


def make_sweep(
    path: Path,
    dims: Mapping[str, Sequence[Any]],
    *,
    prompts: Sequence[str] = ("x", "y", "y"),
    seeds: Sequence[int] = (0, 0, 1),
    image_size: tuple[int, int] | None = (4, 5),
    missing: int = 1,
) -> Path:
    """Two edits, the second with two draws, on all samples in one batch; the last runs are missing."""
    outline = Outline(
        dims=dict(dims),
        edits=["massive", "random"],
        draws=[[1, 2]] * int(np.prod([len(labels) for labels in dims.values()])),
        control=[False, True],
        matched_to=["", ""],
        metrics=[METRIC | {"label": "PSNR", "damage": "lower", "direction": "higher"}],
        prompts=list(prompts),
        seeds=list(seeds),
        batch_size=len(prompts),
        images="drop" if image_size is None else "keep",
        image_size=image_size,
        attrs={"model": "tests/tiny"},
    )
    rng, count = np.random.default_rng(0), len(prompts)

    def scored(at):
        rows = rng.random((3, count))
        return Scored(at + rng.random((1, count)), np.full(count, 2), *rows)

    def images():
        return image_size and rng.integers(0, 256, (count, *image_size, 3)).astype(np.uint8)

    with opened(path, outline, {}, {}) as store:
        baseline = replace(scored(0), scores=np.full((1, count), np.nan))
        store.add_baseline(0, baseline, [False] * count, images(), "digest")
        runs = outline.runs(0)
        for number, key in enumerate(runs[: len(runs) - missing]):
            store.add(RunKey(*key), scored(number), images())
    return path
