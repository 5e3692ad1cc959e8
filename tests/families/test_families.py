"""Every family: verified, recorded and edited on a tiny pipeline of its own classes; each guidance resumed."""

from __future__ import annotations

import dataclasses

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from family_calls import (
    IN_BOTH_WAYS,
    N_STEPS,
    NAMES,
    ONE_OF_EACH_LAYOUT,
    PROMPTS,
    SEEDS,
    batch,
    branches,
    call,
    guided,
    returned,
    size,
    streams,
)

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.block import Block
from ditscope.tracing.run import run_traced

EVERY_FAMILY = pytest.mark.parametrize("name", NAMES)


@IN_BOTH_WAYS
@EVERY_FAMILY
def test_every_claim_holds(opened, name, dtype, square) -> None:
    dit = opened(name, dtype)
    assert dit.family.name == tiny.TINY[name].family
    report = dit.check(PROMPTS[0], **size(name, square))
    assert report.ok, report
    order = reversed(branches(name)) if name in plain_hooks.DOUBLED else branches(name)
    assert f"branches {' '.join(order)}" in str(report)


@IN_BOTH_WAYS
@EVERY_FAMILY
def test_what_is_recorded_is_what_plain_hooks_see(opened, plainly, tmp_path, name, dtype, square) -> None:
    dit, given = opened(name, dtype), call(name, square)
    kept = returned(name, len(dit.blocks))
    with ds.record(dit, tmp_path / "a.zarr", streams=streams(name), blocks=kept, batch_size=2) as rec:
        cache = rec.generate(batch(name), SEEDS, **given)
    seen, _ = plainly(name, dtype, square)
    assert np.array_equal(cache.images.values, seen.images)
    for stream in streams(name):
        hidden = cache.hidden(stream).load()
        assert tuple(hidden["branch"].values) == branches(name)
        for step, branch, block in [(s, b, k) for s in range(N_STEPS) for b in branches(name) for k in kept]:
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, step, branch, images=2)
            expected = seen.hidden[visit, block, stream][rows].float().numpy()
            values = hidden.sel(step=step, branch=branch, block=block).values.astype(np.float32)
            assert np.array_equal(values[:, : expected.shape[1]], expected), (stream, step, branch, block)
            assert np.isnan(values[:, expected.shape[1] :]).all()
    image = cache.hidden("image")
    assert image.attrs["grid_height"] == given["height"] // dit.token_pixels
    assert image.attrs["grid_width"] == given["width"] // dit.token_pixels


@IN_BOTH_WAYS
@EVERY_FAMILY
def test_an_edit_of_one_branch_touches_only_its_rows(opened, folder_of, plainly, name, dtype, square) -> None:
    dit, given = opened(name, dtype), call(name, square)
    branch, block = branches(name)[-1], len(dit.blocks) - 2
    edit = ds.edits.zero([3, 7], blocks=[block], branches=[branch], steps=[1])
    visitor = EditedVisit(dit, [edit], range(N_STEPS))
    images = run_traced(dit, [(prompt, SEEDS[0]) for prompt in batch(name)], visitor, **given).images
    visitor.require_fired()
    table = visitor.firings.table()
    assert set(table["branch"]) == {branch}
    assert list(table["row"]) == [0, 1]

    chosen, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, 1, branch, images=2)

    def zeroed(visit: int, hidden: torch.Tensor) -> torch.Tensor:
        if visit == chosen:
            hidden[rows, :, [3, 7]] = 0
        return hidden

    pipeline = plain_hooks.opened(folder_of(name), dtype)
    seen = plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, edit=(block, zeroed), **given)
    assert np.array_equal(images, seen.images)
    assert not np.array_equal(images, plainly(name, dtype, square)[0].images)


@pytest.mark.parametrize("name", ONE_OF_EACH_LAYOUT.values(), ids=ONE_OF_EACH_LAYOUT)
def test_a_broken_recording_resumes_to_the_same_store(opened, require_resumable, name) -> None:
    require_resumable(opened(name), **call(name))


def relabel(dit, monkeypatch, **changes) -> None:
    for block in dit.blocks:
        monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, **changes))


def swap_streams(dit, monkeypatch) -> None:
    relabel(dit, monkeypatch, outputs=dit.blocks[0].layout.outputs[::-1])


def shift_blocks(dit, monkeypatch) -> None:
    for block in dit.blocks:
        monkeypatch.setattr(block, "index", (block.index + 1) % len(dit.blocks))


def swap_halves(dit, monkeypatch) -> None:
    guidance = dataclasses.replace(dit.family.guidance, branches=dit.family.guidance.branches[::-1])
    monkeypatch.setattr(dit.run_state, "family", dataclasses.replace(dit.family, guidance=guidance))


@pytest.mark.parametrize(
    ("breaking", "name"),
    [
        # Blocks that return a pair, text first and image first, and blocks that return one tensor.
        *[(swap_streams, name) for name in ("flux", "cogview4", "auraflow")],
        *[(shift_blocks, name) for name in ("flux", "sana")],
        *[(swap_halves, name) for name in ("flux", "sd3")],
    ],
)
def test_a_wrong_description_makes_the_check_fail(opened, monkeypatch, breaking, name) -> None:
    breaking(opened(name), monkeypatch)
    assert not opened(name).check(PROMPTS[0], **size(name)).ok


@pytest.mark.parametrize("name", ["flux", "sana", "lumina2"])
def test_a_tensor_of_the_neighbouring_block_makes_the_check_fail(opened, monkeypatch, name) -> None:
    """Every number and every order is right; what is read is one block off."""
    dit, honest, latest = opened(name), Block.read, {}

    def one_off(self, site, stream):
        value = latest[self.index, site, stream] = honest(self, site, stream)
        return latest.get((self.index - 1, site, stream), value) if site == "block_output" else value

    monkeypatch.setattr(Block, "read", one_off)
    report = dit.check(PROMPTS[0], **size(name))
    failing = [finding.claim for finding in report.findings if not finding.holds]
    assert "what a trace reads equals what plain hooks see" in failing


@pytest.mark.parametrize("name", ["sana", "pixart-sigma"])
def test_a_family_without_a_text_stream_refuses_it_by_name(opened, tmp_path, name) -> None:
    with pytest.raises(UnsupportedError, match="'text' asked of a cross block"):
        ds.record(opened(name), tmp_path / "a.zarr", streams=["text"])


def test_prompts_of_different_lengths_in_one_batch_are_refused_where_padding_is_taken_out(
    opened, tmp_path
) -> None:
    call = {"num_inference_steps": 1, **size("lumina2")}
    with (
        ds.record(opened("lumina2"), tmp_path / "a.zarr", batch_size=2) as rec,
        pytest.raises(UnsupportedError, match="prompts of 19, 11 text tokens in one batch of Lumina2"),
    ):
        rec.generate(PROMPTS, SEEDS, **call)
    assert not (tmp_path / "a.zarr").exists()
    with ds.record(opened("lumina2"), tmp_path / "a.zarr", streams=["image", "text"]) as rec:
        real = rec.generate(PROMPTS, SEEDS, **call).hidden("text")["token_mask"]
    assert list(real.sum("token").sel(branch="cond").values) == [19, 11]
    assert real.sizes["token"] == 19  # as long as the longest prompt, not as its padding


def test_the_timestep_counts_up_where_the_transformer_does(opened) -> None:
    dit, visited = opened("lumina2"), []
    run_traced(
        dit, [(PROMPTS[0], 0)], visited.append, num_inference_steps=3, guidance_scale=1.0, **size("lumina2")
    )
    timesteps, sigmas = [visit.timestep for visit in visited], [visit.sigma for visit in visited]
    assert timesteps == sorted(timesteps)
    assert timesteps == pytest.approx([1 - sigma for sigma in sigmas])


def test_the_block_that_returns_no_text_refuses_it_by_name(opened, tmp_path) -> None:
    with pytest.raises(UnsupportedError, match="'text' asked of the last joint block at block_output"):
        ds.record(opened("sd3"), tmp_path / "a.zarr", streams=["text"], blocks=[0, -1])
    ds.record(opened("sd3"), tmp_path / "a.zarr", streams=["text"], sites=["block_input"])


def test_a_doubled_visit_has_two_branches_and_no_single_one(opened) -> None:
    dit, found = opened("sd3"), []

    def at_visit(visit) -> None:
        image = dit.blocks[0].image
        assert torch.equal(torch.cat([visit.rows(image, b) for b in visit.branches]), image)
        found.append(visit)

    run_traced(dit, [(PROMPTS[0], 0)], at_visit, num_inference_steps=2, **size("sd3"))
    assert [visit.branches for visit in found] == [("uncond", "cond")] * 2
    assert [visit.step for visit in found] == [0, 1]
    with pytest.raises(ds.errors.VisitError, match=r"visit\.branches"):
        _ = found[0].branch
    with pytest.raises(InputError, match="branch 'neither'"):
        found[0].slice(4, "neither")


@pytest.mark.parametrize("name", ["flux", "sd3", "qwen-image"])
def test_text_as_long_as_its_prompt_is_masked_and_reduced_without_padding(opened, tmp_path, name) -> None:
    dit = opened(name)
    call = {"num_inference_steps": 1, **size(name), **guided(name)}
    blocks = returned(name, len(dit.blocks))
    with ds.record(dit, tmp_path / "a.zarr", streams=["text"], blocks=blocks, batch_size=2) as rec:
        cache = rec.generate([*PROMPTS, "a star"], SEEDS, **call)
    hidden, stats = cache.hidden("text"), cache.stats("text")
    real = hidden["token_mask"].load()
    count = stats["count"].load()
    assert (count == real.sum("token")).all()
    lengths = real.sum("token").values
    if name == "qwen-image":
        words = [len(prompt.split()) for prompt in [*PROMPTS, "a star"]]
        cond = lengths[:, list(hidden["branch"].values).index("cond")]
        assert list(cond - cond[0]) == [n - words[0] for n in words]
        assert len(set(lengths.ravel())) == 4  # the negative prompt has a length of its own
    else:
        assert len(set(lengths.ravel())) == 1
    kept = hidden.where(real).astype("float64")
    np.testing.assert_allclose(stats["mean"].values, kept.mean("token").values, rtol=1e-4, atol=1e-5)
