"""A patch gives the very image that plain hooks give which put one run's hidden states into another."""

from __future__ import annotations

import functools

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import IN_A_WAY, N_STEPS, SEEDS, batch, branches, call, size

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import EditError
from ditscope.tracing.run import run_traced

BLOCK, CHANNELS = 1, [3, 7]


@pytest.fixture(scope="session")
def captured(opened):
    """Name, dtype, square -> both streams of the guided call of two prompts, in memory."""

    @functools.cache
    def capture(name, dtype, square):
        streams = ("image",) if name in plain_hooks.IMAGE_ONLY else ("image", "text")
        made = {"streams": streams, "blocks": [BLOCK], "batch_size": 2}
        return ds.capture(opened(name, dtype), batch(name), SEEDS, **made, **call(name, square))

    return capture


def images(dit, name, square, edit) -> np.ndarray:
    visitor = EditedVisit(dit, [edit], range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    made = run_traced(dit, samples, visitor, **call(name, square)).images
    visitor.require_fired()
    return made


@IN_A_WAY
def test_the_image_is_that_of_plain_hooks(opened, folder_of, plainly, captured, name, dtype, square) -> None:
    """Each of two samples takes the hidden states of the other one; all of them, or a part of the way."""
    dit, source = opened(name, dtype), captured(name, dtype, square)
    seen, _ = plainly(name, dtype, square)
    for branch in branches(name):
        for step in range(N_STEPS):
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, step, branch, images=2)
            address = {"samples": [0, 1], "step": step, "branch": branch, "block": BLOCK}
            read = source.values_at("image", "block_output", **address)
            assert np.array_equal(
                read.astype(np.float32), seen.hidden[visit, BLOCK, "image"][rows].float().numpy()
            )

    def swapped(hidden: torch.Tensor) -> torch.Tensor:
        return torch.cat([half.flip(0) for half in hidden.split(2)])

    def whole(visit: int, hidden: torch.Tensor) -> torch.Tensor:
        return swapped(seen.hidden[visit, BLOCK, "image"])

    def partial(visit: int, hidden: torch.Tensor) -> torch.Tensor:
        old, new = (
            each[:, :, CHANNELS].float() for each in (hidden, swapped(seen.hidden[visit, BLOCK, "image"]))
        )
        hidden[:, :, CHANNELS] = (old + 0.3 * (new - old)).to(hidden.dtype)
        return hidden

    cases = [(ds.edits.resample(None, source, blocks=[BLOCK]), whole)]
    if dtype is torch.bfloat16:
        blend = ds.edits.patch(source, CHANNELS, sample=[1, 0], alpha=0.3, blocks=[BLOCK])
        cases.append((blend, partial))
    else:
        own = ds.edits.patch(source, blocks=[BLOCK])
        assert np.array_equal(images(dit, name, square, own), seen.images)
    pipeline = plain_hooks.opened(folder_of(name), dtype)
    for edit, hook in cases:
        expected = plain_hooks.run(
            pipeline, name, batch(name), SEEDS * 2, edit=(BLOCK, hook), **call(name, square)
        )
        made = images(dit, name, square, edit)
        assert np.array_equal(made, expected.images)
        assert not np.array_equal(made, seen.images)


@pytest.mark.parametrize("name", ["qwen-image", "lumina2"])
def test_texts_go_by_the_position_of_their_tokens(opened, name) -> None:
    """Texts of other lengths share the capture: each token comes from the same place, and padding from none."""
    dit, arguments = opened(name), {**size(name), "num_inference_steps": 1, "guidance_scale": 1.0}
    if name == "qwen-image":
        arguments = {**size(name), "num_inference_steps": 1, "true_cfg_scale": 1.0}
    short, other, long = "a red star", "a blue circle", "a large white star at the left"
    source = ds.capture(dit, [other, long], 3, streams=["text"], blocks=[BLOCK], **arguments)

    def patched(prompt, sample, **where) -> tuple[np.ndarray, np.ndarray]:
        edit = ds.edits.patch(source, sample=sample, blocks=[BLOCK], stream="text", **where)
        visitor, texts = EditedVisit(dit, [edit], range(1)), []

        def at_visit(visit) -> None:
            for _ in range(2):
                texts.append(dit.blocks[BLOCK].read("block_output", "text")[0].clone().numpy())
                visitor.apply_at(visit, dit.blocks[BLOCK], "block_output", "text")

        run_traced(dit, [(prompt, 3)], at_visit, **arguments)
        return texts[0], texts[1]

    address = {"step": 0, "branch": "cond", "block": BLOCK}
    equal, longer = (source.values_at("text", "block_output", samples=[row], **address)[0] for row in (0, 1))
    before, after = patched(short, 0)
    assert np.array_equal(after, equal[: len(after)])
    assert not np.array_equal(after, before)
    before, after = patched(short, 1, tokens=[0, 2])
    assert np.array_equal(after[[0, 2]], longer[[0, 2]])
    assert np.array_equal(after[[1, 3]], before[[1, 3]])
    with pytest.raises(EditError, match=r"real text tokens of 'a red star' in branch cond"):
        patched(short, 1)


@IN_A_WAY
def test_a_saved_source_is_the_captured_one(captured, tmp_path, name, dtype, square) -> None:
    """Texts of other lengths in both branches, and bfloat16, among them."""
    source = captured(name, dtype, square)
    saved = source.save(tmp_path / "a.zarr")
    for site in source.schema.sites:
        own, other = (each.hidden(site.stream, site.name).compute() for each in (source, saved))
        assert own.dtype == other.dtype
        assert own.astype(np.float32).identical(other.astype(np.float32))
    own, other = (each.trajectory.astype(np.float32) for each in (source, saved))
    assert own.identical(other)
