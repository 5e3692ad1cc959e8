"""A sweep of many runs takes no more memory at its end than after its beginning."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import ditscope as ds
from ditscope.metrics.metric import Metric

RUNS, BEGUN = 60, 20
PROCESS = Path("/proc/self/statm")


@pytest.mark.parametrize("images", ["thumbnails", "drop"])
def test_what_a_run_made_is_let_go(opened, tmp_path, images) -> None:
    made, alive, resident = [], [], []

    def watched(images, reference):
        """The scores of a run, at which what the runs before it made should be gone."""
        if len(made) % 20 == 0:
            gc.collect()
        made.append(weakref.ref(images))
        alive.append(sum(each() is not None for each in made))
        resident.append(int(PROCESS.read_text().split()[1]) * 4096 if sys.platform == "linux" else 0)
        return np.abs(images.astype(float) - reference).mean((1, 2, 3))

    grid = ds.grid(lambda k: {"scale": ds.edits.scale([3], k, blocks=-1)}, k=np.linspace(0, 1, RUNS).tolist())
    call = {"num_inference_steps": 1, "height": 64, "width": 64, "images": images, "resamples": 2}
    metric = Metric("watched", "change", watched, made_of="the mean change")
    found = ds.sweep(opened("flux2-klein"), "a red circle", 5, grid, metric, tmp_path / "a", **call)
    assert len(made) == RUNS
    assert max(alive) <= 2
    assert max(resident[BEGUN:]) - resident[BEGUN] < 4 * 2**20
    assert np.isfinite(found["effect"]).all()
