"""Values of another run in place of a run's own, against plain hooks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from edited_samples import CALL, PROMPTS, SEEDS

import bare_pipeline
import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import from_json
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

PLACES = {"streams": ("image", "text"), "sites": ("block_input", "block_output")}
IDS, BLOCKS, SOURCE_SEED = [3, 77, 120], [2, 5], 9


@pytest.fixture(scope="session")
def source(dit):
    return ds.capture(dit, PROMPTS, SOURCE_SEED, blocks=BLOCKS, batch_size=2, **PLACES, **CALL)


@pytest.fixture(scope="session")
def seen(bare):
    """The source's run under plain hooks."""
    return bare_pipeline.generate(bare, PROMPTS, [SOURCE_SEED] * 2, **CALL)


@pytest.mark.parametrize("site", ["block_input", "block_output"])
@pytest.mark.parametrize("stream", ["image", "text"])
def test_both_streams_at_both_ends(bare, edited, plain, source, seen, site, stream) -> None:
    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in BLOCKS or visit == 3:
            return tensor
        tensor = tensor.clone()
        taken = seen.hidden[visit, block, site, stream].flip(0)
        tensor[:, :5, IDS] = taken[:, :5, IDS]
        return tensor

    where = {"blocks": BLOCKS, "stream": stream, "site": site, "tokens": range(5)}
    edits = [
        ds.edits.patch(source, IDS, sample=[1, 0], branches="cond", **where),
        ds.edits.patch(source, IDS, sample=[1, 0], branches="uncond", steps=[0], **where),
    ]
    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={(site, stream): hook}, **CALL)
    images, table = edited(*edits)
    assert np.array_equal(images, expected.images)
    assert not np.array_equal(images, plain.images)
    assert len(table) == 3 * len(BLOCKS) * 2
    assert (table["moved"] > 0).all()


def test_alpha_follows_the_noise_level(bare, edited, source, seen, plain) -> None:
    levels = [sigma for sigma, _ in plain.scheduler]

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in BLOCKS or visit < 2:  # alpha is 0 at the first step's sigma
            return tensor
        tensor = tensor.clone()
        old, taken = (
            each[:, :, IDS] for each in (tensor, seen.hidden[visit, block, "block_output", "image"])
        )
        tensor[:, :, IDS] = old + 0.7 * (taken[[1, 1]] - old)
        return tensor

    edit = ds.edits.patch(source, IDS, sample=1, alpha=[(levels[0], 0.0), (levels[1], 0.7)], blocks=BLOCKS)
    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): hook}, **CALL)
    assert np.array_equal(edited(edit)[0], expected.images)


def test_nothing_of_the_source_gives_the_image_without_it(edited, plain, source) -> None:
    images, table = edited(ds.edits.patch(source, sample=0, alpha=0, blocks=BLOCKS))
    assert np.array_equal(images, plain.images)
    assert not table["moved"].any()


@pytest.mark.parametrize("stream", ["image", "text"])
@pytest.mark.parametrize("site", ["attn_output", "mlp_output", "attn_gate", "mlp_scale"])
def test_the_model_goes_on_with_the_sources_values_inside_a_block(dit, site, stream) -> None:
    source = ds.capture(dit, PROMPTS[1], 9, streams=[stream], sites=[site], blocks=[1], **CALL)
    # Modulation does not depend on the image, so that of another prompt is another one.
    visitor = EditedVisit(dit, [ds.edits.patch(source, blocks=[1], stream=stream, site=site)], range(2))
    found = []

    def at_visit(visit) -> None:
        visitor.apply_at(visit, dit.blocks[1], site, stream)
        found.append((visit, dit.blocks[1].read(site, stream).clone()))

    run_traced(dit, [(PROMPTS[0], 5)], at_visit, **CALL)
    for visit, value in found:
        address = {"step": visit.step, "branch": visit.branch, "block": 1}
        expected = source.values_at(stream, site, samples=[0], **address)
        assert np.array_equal(value[0].numpy().squeeze(), expected[0])
    assert (visitor.firings.table()["moved"] > 0).any()


def test_it_says_what_it_does(source) -> None:
    edit = ds.edits.patch(source, IDS, sample=0, alpha=0.5)
    assert edit.label == f"patch 0.5 from capture {source.digest[:8]} into explicit channels"
    assert not edit.control
    again = from_json(json.loads(json.dumps(edit.to_json())))
    assert again == edit
    assert again.source.recorded is source


@pytest.mark.parametrize("alpha", ["1", None, float("nan"), [1.0]])
def test_alpha_that_is_no_number_is_refused(source, alpha) -> None:
    with pytest.raises(InputError, match="alpha"):
        ds.edits.patch(source, sample=0, alpha=alpha)


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"a source of type ndarray; expected a cache, a capture, or ds\.edits\.LockStep"
    ):
        ds.edits.patch(np.zeros(3))


@pytest.mark.parametrize("part", ["constant", "variation"])
def test_the_mean_over_tokens_and_the_rest_are_taken_apart(bare, edited, source, seen, part) -> None:
    tokens = [0, 4, 5, 30]

    def hook(visit: int, block: int, tensor: torch.Tensor) -> torch.Tensor:
        if block not in BLOCKS:
            return tensor
        tensor = tensor.clone()
        old, taken = (
            each[:, tokens][:, :, IDS]
            for each in (tensor, seen.hidden[visit, block, "block_output", "image"].flip(0))
        )
        shift = taken.mean(1, keepdim=True) - old.mean(1, keepdim=True)
        new = old + shift if part == "constant" else taken - shift
        for place, token in enumerate(tokens):
            tensor[:, token, IDS] = new[:, place]
        return tensor

    edit = ds.edits.patch(source, IDS, sample=[1, 0], part=part, blocks=BLOCKS, tokens=tokens)
    expected = bare_pipeline.generate(bare, PROMPTS, SEEDS, edits={("block_output", "image"): hook}, **CALL)
    assert np.array_equal(edited(edit)[0], expected.images)
    assert edit.label.startswith(f"patch {part} from")
    with pytest.raises(InputError, match="part 'mean'"):
        ds.edits.patch(source, IDS, part="mean")
