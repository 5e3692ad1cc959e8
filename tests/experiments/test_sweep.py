"""Sweeps: the numbers of comparisons one by one, in memory and on disk, broken off and gone on with."""

from __future__ import annotations

import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import CacheError, ConfigMismatchError, DitscopeError
from ditscope.experiments import running, sweep_store
from ditscope.shapes import networks

PROMPTS = ["a red circle", "a white star", "a blue ring"]
CALL = {"num_inference_steps": 2, **bare_pipeline.PLAIN}
DRAWN = ChannelSet(xr.DataArray([[1, 2], [3, 4]], dims=("draw", "rank")), label="random 2", control=True)
METRICS = ["mean_abs_difference", "high_frequency_energy"]


def edits(block, step):
    where = {"blocks": block, "steps": step}
    return {"massive": ds.edits.zero(range(12), **where), "random": ds.edits.zero(DRAWN, **where)}


GRID = ds.grid(edits, block=[2, 7], step=[1])


def sweep(dit, grid=GRID, path=None, **more) -> xr.Dataset:
    settings = {"prompts": PROMPTS, "seeds": 5, "metrics": METRICS, "batch_size": 2, "resamples": 50, **CALL}
    return ds.sweep(dit, grid=grid, path=path, **{**settings, **more})


@pytest.fixture(scope="module")
def result(dit) -> xr.Dataset:
    return sweep(dit)


@pytest.fixture(scope="module")
def stored(dit, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.zarr"
    return path, sweep(dit, path=path)


def numbers(result: xr.Dataset) -> xr.Dataset:
    return result.drop_attrs().load()


@pytest.mark.parametrize(("block", "step"), [(7, 1)])
def test_each_cell_is_the_comparison_of_its_edits(dit, result, block, step) -> None:
    alone = ds.compare(dit, PROMPTS, 5, edits(block, step), METRICS, batch_size=2, resamples=50, **CALL)
    cell = result.sel(block=block, step=step, drop=True)
    for name in alone.variables:
        assert alone[name].dims == cell[name].dims
        np.testing.assert_array_equal(cell[name], alone[name], name)
    assert result["value"].dims == ("metric", "block", "step", "edit", "draw", "sample")
    assert result.attrs["replay"] == "from the edited block"


def test_runs_are_those_of_whole_runs(dit, result) -> None:
    whole = sweep(dit, memory_budget=0)
    assert whole.attrs["replay"].startswith("whole runs (0 bytes")
    assert numbers(whole).identical(numbers(result))


def test_a_store_holds_what_memory_would(result, stored) -> None:
    path, found = stored
    assert numbers(found).identical(numbers(result))
    assert numbers(ds.open_sweep(path, resamples=50)).identical(numbers(result))
    opened = ds.open_sweep(path, resamples=50)
    assert "images" in opened
    assert not opened["images"].variable._in_memory
    plain = xr.open_zarr(path, consolidated=False, chunks=None)
    assert np.array_equal(plain["images"].isel(block=1), result["images"].isel(block=1))
    assert opened.attrs["num_inference_steps"] == 2


class Killed(BaseException):
    """As by a signal."""


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_sweep_that_is_broken_off_goes_on(dit, result, monkeypatch, tmp_path, after) -> None:
    """Runs are 2 baselines with 6 edited ones each."""
    path, made = tmp_path / "sweep", []
    traced = running.run_traced

    def limited(*args, **kwargs):
        if len(made) == after:
            raise Killed
        made.append(1)
        return traced(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(running, "run_traced", limited)
        with pytest.raises(Killed):
            sweep(dit, path=path)
    partial = ds.open_sweep(path, resamples=50)
    n_runs = max(after - 1, 0)
    assert partial.attrs["missing_runs"] == 12 - n_runs
    assert np.isfinite(partial["value"][0]).sum() == 2 * n_runs
    # A line and an image that were cut off count for nothing.
    with open(path / sweep_store.JOURNAL, "ab") as journal:
        journal.write(b'0123abcd {"run":[0,0')
    with monkeypatch.context() as patched:
        counted = []
        patched.setattr(running, "run_traced", lambda *a, **k: counted.append(1) or traced(*a, **k))
        found = sweep(dit, path=path)
        assert len(counted) == 12 - n_runs + 2
        assert numbers(found).identical(numbers(result))
        sweep(dit, path=path)
        assert len(counted) == 12 - n_runs + 2


def test_images_may_be_small_or_dropped(dit, result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ditscope.experiments.kept.THUMBNAIL", 8)
    for path in (None, tmp_path / "small"):
        small = sweep(dit, path=path, images="thumbnails")
        assert small["images"].shape == (2, 1, 2, 2, 3, 4, 8, 3)
        means = result["images"].values.reshape(2, 1, 2, 2, 3, 4, 4, 8, 4, 3).mean((6, 8))
        assert np.abs(small["images"] - means).max() <= 1
        assert np.array_equal(small["effect"], result["effect"], equal_nan=True)
    dropped = sweep(dit, path=tmp_path / "none", images="drop")
    assert "images" not in dropped
    assert sorted(each.name for each in (tmp_path / "none").iterdir()) == [
        "edits.json",
        "journal.jsonl",
        "zarr.json",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ["psnr"]}, "metrics"),
        ({"prompts": PROMPTS[:2]}, "prompts"),
        ({"seeds": 6}, "seeds"),
        ({"num_inference_steps": 3}, "call.num_inference_steps: found 2, expected 3"),
        ({"grid": ds.grid(edits, block=[7, 2], step=[1])}, "dims.block[0]: found 2, expected 7"),
        ({"grid": ds.grid(lambda block, step: edits(7, step), block=[2, 7], step=[1])}, "edits.massive[0]"),
        ({"images": "drop"}, "images: found 'keep', expected 'drop'"),
        ({"batch_size": 1}, "batch_size: found 2, expected 1"),
    ],
    ids=str,
)
def test_a_store_of_another_sweep_is_refused_by_the_fields(dit, stored, monkeypatch, changes, words) -> None:
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    with pytest.raises(ConfigMismatchError, match="of another configuration") as error:
        sweep(dit, path=stored[0], **changes)
    assert words in str(error.value)


def test_edits_in_another_order_are_another_sweep(dit, tmp_path) -> None:
    """Runs are kept by position, and dicts of another order are equal."""
    given = {"one": ds.edits.zero([1], blocks=7, steps=[1]), "two": ds.edits.zero([2], blocks=7, steps=[1])}
    settings = {"metrics": ["mean_abs_difference"], "path": tmp_path / "a", **CALL}
    ds.compare(dit, PROMPTS[0], 5, given, **settings)
    with pytest.raises(ConfigMismatchError, match=r"order\[0\]: found 'one', expected 'two'"):
        ds.compare(dit, PROMPTS[0], 5, dict(reversed(given.items())), **settings)


def test_what_changes_nothing_has_no_effect_on_latents_judged_by_themselves(dit) -> None:
    """Those of an edit of an early step are of the end, as the unedited ones are that they are held against."""
    grid = ds.grid(lambda step: {"no change": ds.edits.scale([1], 1.0, blocks=0, steps=[step])}, step=[0, 1])
    found = sweep(dit, grid, metrics=["latent_norm"])
    assert (found["effect"] == 0).all()


def test_a_baseline_that_is_another_is_no_pair_of_what_is_there(dit, monkeypatch, tmp_path) -> None:
    sweep(dit, path=tmp_path / "sweep", prompts=PROMPTS[0], images="drop")
    journal = tmp_path / "sweep" / sweep_store.JOURNAL
    *lines, _, checked = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines, checked]))
    monkeypatch.setattr(running, "_digest", lambda made: "other")
    with pytest.raises(ConfigMismatchError, match="an unedited run of batch 0 that makes something else"):
        sweep(dit, path=tmp_path / "sweep", prompts=PROMPTS[0], images="drop")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grid": {"a": ds.edits.zero([1])}}, "a grid of type dict"),
        ({"grid": ds.grid(edits, block=[12], step=[0])}, "block 12"),
        ({"images": "some"}, "images 'some'"),
        ({"memory_budget": -1}, "memory_budget=-1"),
        ({"steps": 5}, "pipeline argument steps"),
        ({"resamples": 0}, "resamples"),
        ({"metrics": []}, "no metrics"),
    ],
    ids=str,
)
def test_what_cannot_be_swept_is_refused_before_the_first_run(
    dit, monkeypatch, tmp_path, changes, words
) -> None:
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    with pytest.raises(DitscopeError) as error:
        sweep(dit, path=tmp_path / "sweep", **changes)
    assert words in str(error.value)
    assert not (tmp_path / "sweep").exists()


def test_a_model_that_is_none_is_refused(dit) -> None:
    for model in (PROMPTS, dit.diffusers_pipeline):
        with pytest.raises(ds.errors.InputError, match=f"a {type(model).__name__} as the model.*ds.load"):
            sweep(model)


def test_more_images_than_memory_should_hold_are_refused(dit, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["ditscope.experiments.sweep"], "MOST_IN_MEMORY", 9 * 3 * 16 * 32 * 3 - 1)
    with pytest.raises(ds.errors.InputError, match="27 images of 0.0 GiB to keep in memory"):
        sweep(dit)


def test_what_a_metric_has_for_each_sample_goes_with_it_through_batches(dit, tmp_path) -> None:
    """Three samples in batches of two, and of three; a store of another mask is another sweep."""
    masks = np.zeros((3, 16, 32), bool)
    masks[0, :9], masks[1, :, 20:], masks[2, 5:25, 11:] = True, True, True
    one, other = ds.metrics.masked_psnr(masks), ds.metrics.masked_psnr(~masks)
    grid = ds.grid(lambda block: {"zero": ds.edits.zero(range(12), blocks=block)}, block=[7])
    found = sweep(dit, grid, metrics=one, path=tmp_path / "a")
    images, bare = found["images"].values[0, 0, 0], found["baseline_images"].values
    assert np.array_equal(found["value"][0, 0, 0, 0], one(images, reference=bare))
    with pytest.raises(ConfigMismatchError, match="made_of"):
        sweep(dit, grid, metrics=other, path=tmp_path / "a")
    with pytest.raises(ds.errors.InputError, match="masks of 3 samples for 2 images"):
        sweep(dit, grid, metrics=one, prompts=PROMPTS[:2])


ONE = ds.grid(lambda block: {"zero": ds.edits.zero([3], blocks=block, steps=0)}, block=[7])


def one(dit, path, metrics, **more):
    settings = {"metrics": metrics, "path": path, "resamples": 1, "num_inference_steps": 1, **more}
    return ds.sweep(dit, PROMPTS[0], 5, ONE, **settings)


def test_another_clip_in_the_same_folder_is_another_judge(dit, tmp_path, monkeypatch) -> None:
    def saved(seed: int, where: str):
        torch.manual_seed(seed)
        networks.clip().save_pretrained(tmp_path / where)
        networks.tokenizer(start=True).save_pretrained(tmp_path / where)
        return tmp_path / where

    first = one(dit, tmp_path / "a", ["clip_score"], clip=str(saved(0, "clip")))
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    again = one(dit, tmp_path / "a", ["clip_score"], clip=str(saved(0, "moved")))
    assert again["value"].identical(first["value"])
    one(dit, tmp_path / "a", ["clip_score"], clip=ds.metrics.ClipScorer.from_pretrained(tmp_path / "clip"))
    with pytest.raises(ConfigMismatchError, match=r"\(clip: found"):
        one(dit, tmp_path / "a", ["clip_score"], clip=str(saved(1, "clip")))
    saved(0, "clip")
    (tmp_path / "clip" / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    with pytest.raises(ConfigMismatchError, match=r"\(clip: found"):
        one(dit, tmp_path / "a", ["clip_score"], clip=str(tmp_path / "clip"))


def test_a_metric_of_ones_own_that_was_changed_is_refused_by_name(dit, tmp_path, monkeypatch) -> None:
    def made(weight: float = 1.0, *, power: int = 1, helper=lambda images: images[..., 0]):
        def mine(images, scale=2.0 * power):
            return scale * weight * helper(images).mean(axis=(1, 2))

        return ["psnr", ds.metrics.Metric("mine", "mine", mine)]

    one(dit, tmp_path / "a", made())
    one(dit, tmp_path / "none", made(), images="drop")
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    one(dit, tmp_path / "a", made())
    for changed in ({"weight": 1.5}, {"power": 2}, {"helper": lambda images: images[..., 1]}):
        with pytest.raises(ConfigMismatchError, match=r"\(metric_code.mine: found") as error:
            one(dit, tmp_path / "a", made(**changed))
        assert "Choose another path" in str(error.value)
        assert "Images that it kept can be judged anew" in str(error.value)
        with pytest.raises(ConfigMismatchError, match=r"\(metric_code.mine: found") as error:
            one(dit, tmp_path / "none", made(**changed), images="drop")
        assert "judged anew" not in str(error.value)


def test_a_metric_that_remembers_is_named_before_a_run_and_goes_on_where_something_stands_for_it(
    dit, tmp_path, monkeypatch
) -> None:
    memo: dict = {}

    def mine(images):
        key = images.tobytes()
        if key not in memo:
            memo[key] = images.mean(axis=(1, 2, 3))
        return memo[key]

    with monkeypatch.context() as patched:
        patched.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
        with pytest.raises(ds.errors.InputError, match="'mine', whose code writes into memo"):
            one(dit, tmp_path / "a", [ds.metrics.Metric("mine", "mine", mine)])
        assert not (tmp_path / "a").exists()
    said = [ds.metrics.Metric("mine", "mine", mine, made_of="mean")]
    first = one(dit, tmp_path / "a", said)
    assert memo
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    assert one(dit, tmp_path / "a", said)["value"].identical(first["value"])
    with pytest.raises(ConfigMismatchError, match="made_of: found 'mean', expected 'median'"):
        one(dit, tmp_path / "a", [ds.metrics.Metric("mine", "mine", mine, made_of="median")])


def test_a_metric_that_remembers_where_its_code_does_not_show_it_is_warned_of(dit, tmp_path) -> None:
    memo: dict = {}

    def mine(images):
        kept = memo
        return kept.setdefault(len(images), images.mean(axis=(1, 2, 3)))

    with pytest.warns(UserWarning, match="^mine: another metric after its use than before"):
        one(dit, tmp_path / "a", [ds.metrics.Metric("mine", "mine", mine)])


def test_another_version_of_ditscope_goes_on_with_a_warning(dit, tmp_path, monkeypatch) -> None:
    one(dit, tmp_path / "a", ["psnr"])
    monkeypatch.setattr(sweep_store, "__version__", "9.9")
    with pytest.warns(UserWarning, match="begun with ditscope 0.* goes on with 9.9") as warned:
        one(dit, tmp_path / "a", ["psnr"])
    assert warned[0].filename == __file__


def test_runs_of_a_changed_model_are_dropped_where_an_interrupt_ends_a_sweep(
    dit, tmp_path, monkeypatch
) -> None:
    """The second edited run is of the changed model, the third is interrupted; the first was compared at once."""
    monkeypatch.setattr(running, "_MOST_UNCOMPARED", 10**9)
    traced, made, weight = running.run_traced, [], next(dit.diffusers_pipeline.transformer.parameters())
    before = weight.detach().clone()

    def changing(*args, **kwargs):
        if len(made) == 3:
            raise KeyboardInterrupt
        if len(made) == 2:
            weight.data.mul_(1.5)
        made.append(1)
        return traced(*args, **kwargs)

    monkeypatch.setattr(running, "run_traced", changing)
    try:
        with pytest.raises(KeyboardInterrupt):
            sweep(dit, path=tmp_path / "a", prompts=PROMPTS[0])
    finally:
        weight.data.copy_(before)
    assert ds.open_sweep(tmp_path / "a", resamples=1).attrs["missing_runs"] == 5


def test_what_a_killed_process_had_not_compared_is_made_again(dit, result, tmp_path, monkeypatch) -> None:
    """After the baseline and two runs that were, one that was not, of another model."""
    traced, made, compared = running.run_traced, [], running.require_unchanged
    weight = next(dit.diffusers_pipeline.transformer.parameters())
    before = weight.detach().clone()

    def changing(*args, **kwargs):
        if len(made) == 3:
            weight.data.mul_(1.5)
        made.append(1)
        return traced(*args, **kwargs)

    def until_then(*args):
        if len(made) > 3:
            raise Killed
        compared(*args)

    with monkeypatch.context() as patched:
        patched.setattr(running, "run_traced", changing)
        patched.setattr(running, "require_unchanged", until_then)
        patched.setattr(running, "_MOST_UNCOMPARED", 0)
        with pytest.raises(Killed):
            sweep(dit, path=tmp_path / "a")
    weight.data.copy_(before)
    assert ds.open_sweep(tmp_path / "a", resamples=50).attrs["missing_runs"] == 12 - 3
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: made.append(1) or traced(*a, **k))
    made.clear()
    assert numbers(sweep(dit, path=tmp_path / "a")).identical(numbers(result))
    assert len(made) == 2 + 10


def test_a_comparison_has_the_same_store(dit, tmp_path) -> None:
    call = {"batch_size": 2, "resamples": 50, **CALL}
    kept = ds.compare(dit, PROMPTS[:2], 5, edits(2, 1), METRICS, path=tmp_path / "one", **call)
    alone = ds.compare(dit, PROMPTS[:2], 5, edits(2, 1), METRICS, **call)
    assert numbers(kept).identical(numbers(alone))
    assert numbers(ds.open_sweep(tmp_path / "one", resamples=50)).identical(numbers(alone))
    with pytest.raises(CacheError, match="dims.block"):
        sweep(dit, path=tmp_path / "one", prompts=PROMPTS[:2])


def test_guidance_is_swept_beside_edits_as_the_context_guides(dit, tmp_path, monkeypatch) -> None:
    def guided(w, block, spare=5):
        massive = ds.guidance.detail(range(12), w, block, steps=[1])
        random = ds.guidance.from_edits(
            ds.edits.zero(DRAWN, blocks=block, steps=[1]), w, match_norm_of=massive
        )
        return {
            "massive": massive,
            "random": random,
            "zero": ds.edits.zero(range(12), blocks=block, steps=spare),
        }

    grid, path = ds.grid(partial(guided, spare=1), w=[1.0, 3.0], block=[7]), tmp_path / "guided"
    call = {"metrics": ["mean_abs_difference"], "prompts": PROMPTS[:2], "path": path}
    found = sweep(dit, grid, **call)
    for number, w in enumerate((1.0, 3.0)):
        given = guided(w, 7)
        for name, draw in (("massive", 0), ("random", 1)):
            with given[name].draw(draw):
                expected = dit.generate_images(PROMPTS[:2], 5, batch_size=2, **CALL)
            images = found["images"].isel(w=number, block=0, draw=draw).sel(edit=name)
            assert np.array_equal(images, expected), (w, name)
    assert found["control"].values.tolist() == [False, True, False]
    assert found["matched_to"].values.tolist() == ["", "norm of zero explicit channels", ""]
    assert found["draws"].values.tolist() == [1, 2, 1]
    zero, massive = (found.sel(edit=name).isel(draw=0) for name in ("zero", "massive"))
    # The degraded branch is edited where the run itself is; both are the unedited one before that.
    assert np.array_equal(zero["energy_removed_by_sample"], massive["energy_removed_by_sample"])
    assert (found["contrast_mean"].sel(edit="zero") != 0).all()
    assert numbers(ds.open_sweep(path, resamples=50)).identical(numbers(found))
    forms = json.loads((path / sweep_store.EDITS).read_text())
    assert set(
        map(ds.guidance.Guidance.from_json, [form for form in forms.values() if isinstance(form, dict)])
    ) == {guided(w, 7)[name] for w in (1.0, 3.0) for name in ("massive", "random")}
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    assert numbers(sweep(dit, grid, **call)).identical(numbers(found))
    with pytest.raises(ConfigMismatchError, match=r"edits\.massive\[1\]"):
        sweep(dit, ds.grid(lambda w, block: guided(min(w, 2.0), block, 1), w=[1.0, 3.0], block=[7]), **call)


def test_a_guidance_of_a_step_or_sample_that_is_not_there_is_refused_before_a_run(dit, monkeypatch) -> None:
    monkeypatch.setattr(running, "run_traced", lambda *a, **k: pytest.fail("an image was made"))
    masks = xr.DataArray(
        np.ones((1, 32), bool),
        dims=("sample", "token"),
        coords={"prompt": ("sample", ["x"]), "seed": ("sample", [5])},
    )
    for where, words in (({"steps": [4]}, "step 4"), ({"tokens": masks}, "masks")):
        grid = ds.grid(lambda w, where=where: {"guided": ds.guidance.detail([3], w, 7, **where)}, w=[1])
        with pytest.raises(DitscopeError, match=words):
            sweep(dit, grid)
