"""Runs of a sweep: their order, their ends, and a model that is changed meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
import ditscope as ds
from ditscope.errors import ConfigMismatchError, EditError
from ditscope.experiments.running import Runs
from ditscope.metrics.metric import Metric
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 3, **bare_pipeline.PLAIN}
GRID = ds.grid(
    lambda step, block: {"zero": ds.edits.zero([3, 7], steps=step, blocks=block)},
    step=[2, 0, 1],
    block=[4, 1],
)
LAST = Metric(
    "last", "latents", lambda latents, reference_latents: np.abs(latents - reference_latents).max((1, 2))
)


def sweep(dit, grid=GRID, prompts="a red circle", metrics=LAST, **more):
    return ds.sweep(dit, prompts, 5, grid, metrics, resamples=20, **{**CALL, **more})


def test_runs_are_ordered_by_what_they_share(dit, monkeypatch) -> None:
    order = []
    made = Runs._steps

    def noted(self, start):
        order.append([(visit, block) for visit, block in enumerate(start) if block is not None])
        return made(self, start)

    monkeypatch.setattr(Runs, "_steps", noted)
    sweep(dit)
    assert order == [[(step, block)] for step in (0, 1, 2) for block in (2, 5)]  # behind the edited ones


def test_metrics_of_latents_end_a_run_after_the_edited_step_and_decode_nothing(dit, monkeypatch) -> None:
    decoded, visited = [], []

    def counted(dit, samples, at_visit, **call):
        def noted(visit):
            visited[-1].append(visit.step)
            return at_visit(visit)

        visited.append([])
        return run_traced(dit, samples, noted, **call)

    monkeypatch.setattr("ditscope.experiments.running.run_traced", counted)
    handle = dit.diffusers_pipeline.vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
    try:
        found = sweep(dit)
    finally:
        handle.remove()
    assert not decoded
    assert "images" not in found
    # The visit at which a run is ended is not computed.
    assert [steps[-1] for steps in visited] == [2, 1, 1, 2, 2, 2, 2]
    # The same by whole runs under edits that plainly zero.
    outcomes = []
    for edit in (None, GRID.cells[3][0].edits[0]):
        visitor = None if edit is None else ds.edits.applying.EditedVisit(dit, [edit], range(3))
        outcomes.append(run_traced(dit, [("a red circle", 5)], visitor, keep_latents=True, **CALL).latents)
    expected = np.abs(outcomes[1][:, 1] - outcomes[0][:, 1]).max()
    assert found["effect"].sel(step=0, block=1).item() == expected > 0


def test_images_and_latents_may_be_judged_together(dit) -> None:
    grid = ds.grid(lambda step: {"zero": ds.edits.zero([3], steps=step)}, step=[2, 1])
    both, last = (sweep(dit, grid, metrics=metrics)["effect"] for metrics in (["psnr", LAST], LAST))
    assert np.array_equal(both.sel(metric="last"), last.sel(metric="last"))


def test_an_edit_that_fires_nowhere_is_no_result_and_takes_none_away(dit) -> None:
    nowhere = np.zeros(24, bool)  # of the text, whose length is known in the run alone

    def edits(k):
        none = ds.edits.zero([k], stream="text", tokens=nowhere)
        return {"none": none, "one": ds.edits.zero([k]), "either": [none, ds.edits.zero([k])]}

    with pytest.raises(EditError, match="fired on no token of any sample"):
        sweep(dit, ds.grid(lambda k: {"none": edits(k)["none"]}, k=[1]))
    with pytest.warns(UserWarning, match="they fired in no sample at all") as warned:
        found = sweep(dit, ds.grid(edits, k=[1]))
    assert [str(each.message).split("'")[1] for each in warned] == ["none", "either"]
    assert np.isfinite(found["mean"].sel(edit="one")).all()
    for name in ("none", "either"):
        assert np.isnan(found["effect"].sel(edit=name)).all()
        assert found["n_samples"].sel(edit=name) == 0


def test_a_change_of_the_model_drops_what_was_made_since_the_last_look(dit, monkeypatch, tmp_path) -> None:
    path, decodings = tmp_path / "sweep", []

    def changes(*_) -> None:
        decodings.append(1)
        if len(decodings) == 5:  # three of each prompt
            monkeypatch.setattr(dit.diffusers_pipeline.vae, "use_tiling", True)

    grid = ds.grid(lambda block: {"zero": ds.edits.zero([3], steps=2, blocks=block)}, block=[4, 1])
    two = {"grid": grid, "prompts": ["a red circle", "a white star"], "metrics": "psnr"}
    handle = dit.diffusers_pipeline.vae.decoder.register_forward_pre_hook(changes)
    try:
        with pytest.raises(ConfigMismatchError, match="changed meanwhile"):
            sweep(dit, **two, path=path)
        found = ds.open_sweep(path)
        assert np.isfinite(found["effect"].isel(sample=0)).all()
        assert np.isnan(found["effect"].isel(sample=1)).all()
        monkeypatch.undo()
        assert sweep(dit, **two, path=path)["effect"].equals(sweep(dit, **two)["effect"])
    finally:
        handle.remove()
