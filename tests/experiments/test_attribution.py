"""Effects to first order and measured ones: what they are of, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import EditedVisit
from ditscope.errors import EditError, InputError, UnsupportedError
from ditscope.tracing.run import run_traced

PROMPTS, SEED, IDS = ["a red circle", "a white star"], 5, [3, 77]
CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN, "height": 32, "width": 48}  # 8 x 12 image tokens


def metric(output, latents, visit):
    """Of the latents after the only step, odd in all of them."""
    image = latents - visit.sigma * output
    return (torch.linspace(-1, 2, image[0].numel()).reshape(image[0].shape) * image).sum(dim=(1, 2))


def metric_of_run(dit, edit=None) -> np.ndarray:
    """The same of a whole run's last latents."""
    samples = [(prompt, SEED) for prompt in PROMPTS]
    visitor = None if edit is None else EditedVisit(dit, [edit], range(1))
    last = run_traced(dit, samples, visitor, keep_latents=True, **CALL).latents[:, -1]
    weights = np.linspace(-1, 2, last[0].size).reshape(last[0].shape)
    return (weights * last.astype(np.float64)).sum(axis=(1, 2))


def test_measured_effects_are_those_of_edited_runs(dit) -> None:
    found = ds.patch_effect(
        dit,
        PROMPTS,
        SEED,
        metric,
        ds.edits.scale(None, -3.0, blocks=[2, "single.5"]),
        IDS,
        batch_size=2,
        **CALL,
    )
    bare = metric_of_run(dit)
    assert found["value"].values[:, 0, 0] == pytest.approx(bare, rel=1e-4)
    assert found["block_name"].values.tolist() == ["double.2", "single.5"]
    for block in (2, 9):
        for channel in IDS:
            expected = metric_of_run(dit, ds.edits.scale([channel], -3.0, blocks=block)) - bare
            effect = found["effect"].sel(block=block, channel=channel).values[:, 0, 0]
            assert effect == pytest.approx(expected, rel=1e-3, abs=1e-3)
            assert (np.abs(effect) > 0.01).all()


def test_effects_are_of_the_edits_own_places_and_of_the_unedited_run(dit) -> None:
    channels = ChannelSet.of({1: [4, 5], 6: [90]})
    edit = ds.edits.zero(channels, tokens=[0, 7])
    found = ds.attribution(dit, PROMPTS, SEED, metric, edit, by_token=True, **CALL)
    assert dict(found["effect"].sizes) == {
        "sample": 2,
        "step": 1,
        "branch": 1,
        "block": 2,
        "token": 96,
        "channel": 128,
    }
    known = found["effect"].notnull().all("sample").values[0, 0]
    expected = np.zeros((2, 96, 128), bool)
    for row, ids in ((0, [4, 5]), (1, [90])):
        expected[row, [[0], [7]], ids] = True
    assert np.array_equal(known, expected)
    assert found["value"].values[:, 0, 0] == pytest.approx(metric_of_run(dit), rel=1e-4)
    whole = ds.attribution(dit, PROMPTS, SEED, metric, edit, batch_size=2, **CALL)
    summed = found["effect"].sum("token", min_count=1)
    assert np.allclose(whole["effect"], summed, rtol=1e-3, atol=1e-4, equal_nan=True)
    assert found.attrs == {"model": dit.name, "edit": edit.label, "stream": "image", "site": "block_output"}


@pytest.mark.parametrize(
    "where",
    [
        {"site": "attn_output", "blocks": "double"},
        {"site": "block_input", "stream": "text"},
        {"site": "mlp_gate", "blocks": "double"},
        {"freeze_layernorm": True},
    ],
    ids=str,
)
def test_effects_at_any_site_are_derivatives(dit, where) -> None:
    share, call = 1e-2, {**CALL, "batch_size": 2}
    found = ds.attribution(dit, PROMPTS, SEED, metric, ds.edits.zero(None, **where), **call)["effect"]
    less, more = (
        ds.patch_effect(dit, PROMPTS, SEED, metric, ds.edits.scale(None, 1 + by, **where), IDS, **call)
        for by in (-share, share)
    )
    expected = (less["effect"] - more["effect"]) / (2 * share)
    found = found.sel(channel=IDS)
    assert (np.abs(found - expected) < 2e-2 * np.abs(found).max("block") + 1e-2).all()
    assert (np.abs(found).max(["block", "channel"]) > 0.1).all()


def test_steps_and_branches_are_those_of_the_scope(dit) -> None:
    call = {"num_inference_steps": 3, **bare_pipeline.GUIDED}
    edit = ds.edits.zero(IDS, blocks=4, steps=[0, 2], branches="uncond")
    found = ds.attribution(dit, PROMPTS[0], SEED, metric, edit, **call)
    assert found["step"].values.tolist() == [0, 2]
    assert found["branch"].values.tolist() == ["uncond"]
    assert found["sigma"].values[0] == 1
    assert found["effect"].sel(channel=IDS).notnull().all()
    assert dit.run_state.n_forwards == dit.run_state.n_visits + 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda output, latents, visit: output.mean(), "one number for each row"),
        (lambda output, latents, visit: output.detach().mean(dim=(1, 2)), "without a gradient"),
        (lambda output, latents, visit: 0.0, "float"),
    ],
)
def test_a_metric_that_cannot_be_differentiated_is_refused(dit, wrong, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.attribution(dit, PROMPTS[0], SEED, wrong, ds.edits.zero(IDS), **CALL)


def test_edits_that_do_not_fit_are_refused_before_the_run(dit) -> None:
    def never(*_):
        raise AssertionError

    with pytest.raises(InputError, match="channel 500"):
        ds.attribution(dit, PROMPTS[0], SEED, never, ds.edits.zero([500]), **CALL)
    with pytest.raises(EditError, match="uncond"):
        ds.attribution(dit, PROMPTS[0], SEED, never, ds.edits.zero([5], branches="uncond"), **CALL)
    with pytest.raises(InputError, match="channel"):
        ds.patch_effect(dit, PROMPTS[0], SEED, never, ds.edits.zero(None), [500], **CALL)
    with torch.inference_mode(), pytest.raises(UnsupportedError, match="inference_mode"):
        ds.attribution(dit, PROMPTS[0], SEED, never, ds.edits.zero(None), **CALL)


def test_an_argument_that_the_pipeline_lacks_is_refused(dit) -> None:
    with pytest.raises(InputError, match="pipeline argument guidance"):
        ds.attribution(dit, PROMPTS, SEED, metric, ds.edits.zero(IDS), guidance=2, **CALL)


def test_embeddings_are_known_by_their_labels(dit) -> None:
    """As in a comparison: noise goes by prompt and seed, and masks of another prompt are refused before a run."""
    probed = dit.diffusers_pipeline.encode_prompt(PROMPTS[0], None, max_sequence_length=24)
    given = ds.PromptEmbeds(PROMPTS[0], prompt_embeds=probed[0], pooled_prompt_embeds=probed[1])
    edit = ds.edits.noise(IDS, blocks=4)
    one, other = (ds.patch_effect(dit, each, SEED, metric, edit, IDS, **CALL) for each in (given, PROMPTS[0]))
    assert np.allclose(one["effect"], other["effect"], rtol=1e-3)  # another noise would be far off
