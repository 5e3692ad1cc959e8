"""Every tiny pipeline by every change: what is recorded and edited is what plain hooks see, and what does not go on.

What each test finds is kept in ``docs/tested_changes.json``, which the table of support is drawn from.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import shutil
from typing import Any

import numpy as np
import plain_hooks
import pytest
import tested_changes
import torch
from changes import CHANGES, add_lora
from family_calls import NAMES, branches
from read_and_edited import (
    PROMPT,
    SEED,
    Plain,
    bare,
    call,
    plainly,
    require_what_plain_hooks_see,
    traced,
)
from test_record_again import StoppedError, contents, stop_commit_of

import ditscope as ds
from ditscope.errors import ConfigMismatchError

SEEDS = [SEED, SEED + 1]


@pytest.fixture(scope="session")
def original(folder_of):
    """Name, with a LoRA -> a pipeline to be copied; None where diffusers has no LoRA for it."""

    @functools.cache
    def make(name: str, lora: bool) -> Any:
        # A copy, as those that are compared with it: sums differ by where weights lie, which a file says otherwise.
        pipeline = copy.deepcopy(bare(folder_of(name)))
        pipeline.set_progress_bar_config(disable=True)
        if not lora:
            return pipeline
        if not hasattr(pipeline.transformer, "add_adapter"):
            return None
        add_lora(pipeline.transformer)
        return pipeline

    return make


@pytest.fixture(scope="session")
def unchanged(original):
    """Name, with a LoRA -> what plain hooks see of the edited step on the original, and of one step of each sample."""

    @functools.cache
    def seen(name: str, lora: bool) -> tuple[Plain, list[plain_hooks.Seen]]:
        pipeline = original(name, lora)
        return plainly(pipeline, name, 1), seen_of(pipeline, name, SEEDS, 1)

    return seen


def seen_of(pipeline: Any, name: str, seeds: list[int], n_steps: int) -> list[plain_hooks.Seen]:
    """What plain hooks see of each sample."""
    return [plain_hooks.run(pipeline, name, [PROMPT], [seed], **call(name, n_steps)) for seed in seeds]


def copied(pipeline: Any) -> Any:
    """A pipeline with a transformer and a scheduler of its own."""
    others = [part for name, part in pipeline.components.items() if name not in ("transformer", "scheduler")]
    return copy.deepcopy(pipeline, {id(part): part for part in others})


def recorded(dit, path, name: str, seeds: list[int], n_steps: int = 1) -> ds.Cache:
    with ds.record(dit, path, stats=False) as rec:
        return rec.generate(PROMPT, seeds, **call(name, n_steps))


@pytest.fixture(scope="session")
def begun(original, tmp_path_factory):
    """Name, with a LoRA -> a recording of two samples that was broken off in the second one."""

    @functools.cache
    def record(name: str, lora: bool) -> Any:
        path = tmp_path_factory.mktemp("begun") / "a.zarr"
        with (
            ds.load(copy.deepcopy(original(name, lora)), name=name) as dit,
            pytest.MonkeyPatch.context() as monkeypatch,
        ):
            stop_commit_of(1, monkeypatch)
            with pytest.raises(StoppedError):
                recorded(dit, path, name, SEEDS)
        assert ds.open_cache(path).committed == (0,)
        return path

    return record


def require_recorded(cache: ds.Cache, plain: list[plain_hooks.Seen], name: str, n_steps: int) -> None:
    """Require that a recording of image streams is what plain hooks saw of each sample."""
    assert cache.complete
    hidden = cache.hidden().load()
    for sample, seen in enumerate(plain):
        assert np.array_equal(cache.images.values[sample], seen.images[0])
        for step, branch in itertools.product(range(n_steps), branches(name)):
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, step, branch, images=1)
            values = hidden.sel(step=step, branch=branch).values[sample]
            expected = [seen.hidden[visit, block, "image"][rows] for block in hidden["block"].values]
            assert np.array_equal(values, torch.cat(expected).numpy()), (sample, step, branch)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_followed_and_no_recording_goes_on_with_other_numbers(
    original, unchanged, begun, tmp_path, record_property, name, what
) -> None:
    change, found = CHANGES[what], dict.fromkeys(("recording", "edit", "resume"), "absent")
    if original(name, what.startswith("LoRA")) is not None:
        own, n_steps = copy.deepcopy(original(name, change.lora)), change.n_steps
        with ds.load(own, name=name) as dit:
            _, before = traced(dit, name, n_steps)
            change.make(own, name, tmp_path)
            path = begun(name, change.lora)
            if change.refused is None:
                plain, samples = unchanged(name, change.lora)
                require_what_plain_hooks_see(dit, plain, name, n_steps)
                path = shutil.copytree(path, tmp_path / "begun.zarr")
                require_recorded(recorded(dit, path, name, SEEDS), samples, name, 1)
                found |= dict.fromkeys(found, "equal")
            else:
                pipeline = copied(original(name, change.lora))
                change.make(pipeline, name, tmp_path)
                now = require_what_plain_hooks_see(dit, plainly(pipeline, name, n_steps), name, n_steps)
                found["edit"] = "equal"
                assert not all(value.equal(before[place]) for place, value in now.items())
                files = contents(path)
                with pytest.raises(ConfigMismatchError, match=change.refused):
                    recorded(dit, path, name, SEEDS)
                assert contents(path) == files
                found["resume"] = "refused"
                cache = recorded(dit, tmp_path / "a.zarr", name, SEEDS[:1], n_steps)
                require_recorded(cache, seen_of(pipeline, name, SEEDS[:1], n_steps), name, n_steps)
                found["recording"] = "equal"
    record_property("cell", json.dumps([name, what, found]))
    kept = tested_changes.kept().get(name, {}).get(what, found)
    assert kept == found, "run `make matrix`"


def test_the_kept_file_has_every_cell() -> None:
    kept = {name: list(row) for name, row in tested_changes.kept().items()}
    assert kept == {name: list(CHANGES) for name in NAMES}
