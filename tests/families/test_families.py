"""Every family: verified, recorded, reopened, edited and resumed on a tiny pipeline of its own classes."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import plain_hooks
import pytest
import tiny
import torch

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.block import Block
from ditscope.tracing.run import run_traced

recording = importlib.import_module("ditscope.recording.record")  # the package has a function of that name
NAMES = list(tiny.TINY)
PROMPTS, SEEDS = tiny.PROMPTS, [3]


def every_way(test):
    """Each family in float32 and bfloat16, square and not."""
    for mark in (
        pytest.mark.parametrize("square", [True, False]),
        pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16]),
        pytest.mark.parametrize("name", NAMES),
    ):
        test = mark(test)
    return test


def size(name: str, square: bool = False) -> dict[str, int]:
    """Not square unless asked: a swapped axis shows. SANA wants multiples of 32, others of 16."""
    edge = {"sana": 32, "cogview4": 16, "lumina2": 32}.get(name, 8)
    return {"height": 2 * edge, "width": (2 if square else 3) * edge}


def guided(name: str) -> dict[str, object]:
    """Arguments that switch true guidance on, where there is such a thing."""
    if name in ("flux", "qwen-image"):
        return {"true_cfg_scale": 3.0, "negative_prompt": "plain"}
    return {"guidance_scale": 3.0}


def batch(name: str) -> list[str]:
    """Two prompts for one batch: equally long where a family wants them so."""
    return [
        PROMPTS[0],
        "a large white star at the left on a plain red circle" if name == "lumina2" else PROMPTS[1],
    ]


def branches(name: str) -> tuple[str, ...]:
    both = name in (*plain_hooks.DOUBLED, *plain_hooks.TWICE)
    return ("cond", "uncond") if both else ("cond",)


def streams(name: str) -> tuple[str, ...]:
    return ("image",) if name in plain_hooks.IMAGE_ONLY else ("image", "text")


def returned(name: str, n_blocks: int) -> range:
    """Blocks that return every stream: SD3's last one returns no text."""
    return range(n_blocks - name.startswith("sd3"))


@every_way
def test_every_claim_holds(opened, name, dtype, square) -> None:
    dit = opened(name, dtype)
    assert dit.family.name == tiny.TINY[name].family
    report = dit.check(PROMPTS[0], **size(name, square))
    assert report.ok, report
    order = reversed(branches(name)) if name in plain_hooks.DOUBLED else branches(name)
    assert f"branches {' '.join(order)}" in str(report)


@every_way
def test_what_is_recorded_is_what_plain_hooks_see(opened, folder_of, tmp_path, name, dtype, square) -> None:
    dit = opened(name, dtype)
    call = {"num_inference_steps": 2, **size(name, square), **guided(name)}
    kept = returned(name, len(dit.blocks))
    with ds.record(dit, tmp_path / "a.zarr", streams=streams(name), blocks=kept, batch_size=2) as rec:
        rec.generate(batch(name), SEEDS, **call)
    cache = ds.open_cache(tmp_path / "a.zarr")
    arguments = {**tiny.TINY[name].call, **call}
    seen = plain_hooks.generate(folder_of(name), name, batch(name), [3, 3], dtype=dtype, **arguments)
    assert np.array_equal(cache.images.values, seen.images)
    for stream in streams(name):
        hidden = cache.hidden(stream)
        assert tuple(hidden["branch"].values) == branches(name)
        for step, branch, block in [(s, b, k) for s in range(2) for b in branches(name) for k in kept]:
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, step, branch, images=2)
            expected = seen.hidden[visit, block, stream][rows].float().numpy()
            found = hidden.sel(step=step, branch=branch, block=block).values.astype(np.float32)
            assert np.array_equal(found[:, : expected.shape[1]], expected), (stream, step, branch, block)
            assert np.isnan(found[:, expected.shape[1] :]).all()
    image = cache.hidden("image")
    token_edge = dit.token_pixels
    assert image.attrs["grid_height"] == call["height"] // token_edge
    assert image.attrs["grid_width"] == call["width"] // token_edge


@every_way
def test_an_edit_of_one_branch_touches_only_its_rows(opened, folder_of, name, dtype, square) -> None:
    dit = opened(name, dtype)
    call = {"num_inference_steps": 2, **size(name, square), **guided(name)}
    branch, block = branches(name)[-1], len(dit.blocks) - 2
    edit = ds.edits.zero([3, 7], blocks=[block], branches=[branch], steps=[1])
    visitor = EditedVisit(dit, [edit], 2)
    samples = list(zip(batch(name), [3, 4], strict=True))
    images = run_traced(dit, samples, visitor, **call).images
    visitor.require_fired()
    table = visitor.firings.table()
    assert set(table["branch"]) == {branch}
    assert list(table["row"]) == [0, 1]

    chosen, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, 1, branch, images=2)

    def zeroed(visit: int, hidden: torch.Tensor) -> torch.Tensor:
        if visit == chosen:
            hidden[rows, :, [3, 7]] = 0
        return hidden

    arguments = {**tiny.TINY[name].call, **call}
    arguments |= {"dtype": dtype}
    seen = plain_hooks.generate(folder_of(name), name, batch(name), [3, 4], edit=(block, zeroed), **arguments)
    assert np.array_equal(images, seen.images)
    plain = plain_hooks.generate(folder_of(name), name, batch(name), [3, 4], **arguments)
    assert not np.array_equal(images, plain.images)


@every_way
def test_a_broken_recording_resumes_to_the_same_store(
    opened, tmp_path, monkeypatch, name, dtype, square
) -> None:
    dit = opened(name, dtype)
    call = {"num_inference_steps": 1, **size(name, square), **guided(name)}
    with ds.record(dit, tmp_path / "whole.zarr") as rec:
        whole = rec.generate(PROMPTS, SEEDS, **call)

    runs = []

    def second_fails(*arguments, **call):
        runs.append(1)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return run_traced(*arguments, **call)

    monkeypatch.setattr(recording, "run_traced", second_fails)
    with ds.record(dit, tmp_path / "broken.zarr") as rec, pytest.raises(KeyboardInterrupt):
        rec.generate(PROMPTS, SEEDS, **call)
    assert ds.open_cache(tmp_path / "broken.zarr").committed == (0,)
    with ds.record(dit, tmp_path / "broken.zarr") as rec:
        resumed = rec.generate(PROMPTS, SEEDS, **call)
    assert len(runs) == 3
    both = [cache.hidden().values.astype(np.float32) for cache in (resumed, whole)]
    assert np.array_equal(*both)
    assert np.array_equal(resumed.images.values, whole.images.values)


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
    monkeypatch.setattr(dit, "family", dataclasses.replace(dit.family, guidance=guidance))


@pytest.mark.parametrize(
    ("breaking", "names"),
    [
        (swap_streams, [name for name in NAMES if name not in plain_hooks.IMAGE_ONLY]),
        (shift_blocks, NAMES),
        (swap_halves, [*plain_hooks.DOUBLED, *plain_hooks.TWICE]),
    ],
)
def test_a_wrong_description_makes_the_check_fail(opened, monkeypatch, breaking, names) -> None:
    for name in names:
        with monkeypatch.context() as patch:
            breaking(opened(name), patch)
            report = opened(name).check(PROMPTS[0], **size(name))
        assert not report.ok, name


@pytest.mark.parametrize("name", NAMES)
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
        ds.record(opened("sd3"), tmp_path / "a.zarr", streams=["text"])
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
