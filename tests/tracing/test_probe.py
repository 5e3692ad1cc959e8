"""A look at a call: its schedule and shapes are those of the run."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

import bare_pipeline
from ditscope.errors import UnsupportedError
from ditscope.models.live_state import live_state
from ditscope.tracing.probe import probe, probe_once
from ditscope.tracing.run import run_traced


def test_a_probe_leaves_the_callback_to_the_run(dit, prompts) -> None:
    called = []
    probe(
        dit,
        [(prompts[0], 0)],
        callback_on_step_end=called.append,
        num_inference_steps=1,
        **bare_pipeline.PLAIN,
    )
    assert called == []


@pytest.mark.parametrize("call", [bare_pipeline.GUIDED, bare_pipeline.PLAIN])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_probe_tells_the_shapes_of_the_run(dit, prompts, call, steps) -> None:
    probed = probe(dit, [(prompts[0], 0), (prompts[1], 1)], num_inference_steps=steps, **call)
    shapes: dict[str, set] = {"image": set(), "text": set(), "latents": set()}

    def note(visit) -> None:
        shapes["latents"].add(tuple(dit.transformer.inputs[1]["hidden_states"].shape[1:]))
        for stream in ("image", "text"):
            shapes[stream].add(tuple(dit.blocks[0].read("block_output", stream).shape[1:]))

    outcome = run_traced(dit, [(prompts[0], 0)], note, num_inference_steps=steps, **call)
    assert shapes["image"] == {(probed.tokens["image"], probed.width)}
    assert shapes["text"] == {(probed.tokens["text"], probed.width)}
    assert shapes["latents"] == {(probed.latent_tokens, probed.latent_channels)}
    assert probed.grid == (4, 8)
    assert outcome.images.shape[1:3] == probed.image_size == (16, 32)
    assert len(probed.schedule) == steps * (2 if call is bare_pipeline.GUIDED else 1)
    assert probed.dtype == torch.float32
    assert probed.seconds_per_visit > 0


def test_what_is_known_of_a_call_is_not_probed_again(dit, prompts, monkeypatch) -> None:
    runs, look = [], sys.modules["ditscope.tracing.probe"].probe
    monkeypatch.setattr(
        sys.modules["ditscope.tracing.probe"],
        "probe",
        lambda *at, **call: runs.append(at) or look(*at, **call),
    )
    call = {"num_inference_steps": 2, **bare_pipeline.GUIDED}

    def probed(text: str, seed: int = 0, **changed):
        return probe_once(dit, [(text, seed)], live_state(dit), **{**call, **changed})

    first = probed("red, once")
    assert probed("red, once", seed=1) is first
    assert probed("a text that is longer") is first  # of a family whose texts are all as long
    assert len(runs) == 1
    assert len(probed("red, once", num_inference_steps=3).schedule) == 6
    assert probed("red, twice") is not first
    assert probed("red, twice", latents=torch.zeros(1, 32, 16)) is not first
    assert len(runs) == 4
    monkeypatch.setattr(dit.diffusers_pipeline.vae, "use_slicing", True)
    probed("red, twice", latents=torch.zeros(1, 32, 16))
    assert len(runs) == 5
    assert probe_once(dit, [("a", 0), ("b", 0)], live_state(dit), **call).tokens == first.tokens
    assert len(runs) == 6


def test_another_prompt_is_probed_where_its_length_is_asked_for(dit, prompts, monkeypatch) -> None:
    monkeypatch.setattr(dit.run_state, "family", replace(dit.family, text_length_varies=True))
    call, live = {"num_inference_steps": 1, **bare_pipeline.PLAIN}, live_state(dit)

    def probed(text: str, kept: bool):
        return probe_once(dit, [(text, 0)], live, text_is_kept=kept, **call)

    first, other = probed("red, once", True), probed("red, twice", True)
    assert other is not first
    assert probed("red, twice", True) is other
    short = probed("red, once", False)
    assert probed("red, twice", False) is short
    assert probed("red, twice", True) is not short


def test_what_is_refused_before_a_run_is_refused_though_the_call_is_known(dit, prompts) -> None:
    samples, call = [(prompts[0], 0)], {"num_inference_steps": 2, **bare_pipeline.GUIDED}
    live = live_state(dit)
    probe_once(dit, samples, live, **call)
    with dit.edit(inplace=True):
        dit.transformer.norm_out.output = dit.transformer.norm_out.output
    try:
        with pytest.raises(UnsupportedError, match="persistent edits"):
            probe_once(dit, samples, live_state(dit), **call)
    finally:
        dit.clear_edits()
    assert probe_once(dit, samples, live_state(dit), **call)
