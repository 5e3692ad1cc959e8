"""A capture has what a store has, bit for bit and label for label, and takes the memory that it says."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_recording import BOTH, GUIDED, PLAIN, PROMPTS, SEEDS, record

import ditscope as ds
from ditscope.errors import CacheError, ConfigMismatchError, InputError

SITES = ("block_input", "attn_gate", "mlp_output", "block_output")


@pytest.fixture(scope="module")
def captured(dit):
    return ds.capture(dit, PROMPTS, SEEDS, batch_size=3, **BOTH, **GUIDED)


def test_arrays_labels_images_and_trajectory_are_those_of_a_cache(guided, captured) -> None:
    for stream in BOTH["streams"]:
        for site in BOTH["sites"]:
            assert captured.hidden(stream, site).identical(guided.hidden(stream, site).compute())
    some = captured.hidden(channels=[7, 3])
    assert some.identical(guided.hidden(channels=[7, 3]).compute())
    assert captured.images.identical(guided.images.compute())
    assert captured.trajectory.identical(guided.trajectory.compute())
    samples = guided.samples
    assert captured.samples.equals(samples)
    assert captured.config == guided.config


def test_parts_of_a_run_and_modulation(dit, tmp_path) -> None:
    kept = {"sites": SITES, "blocks": ["double.1", 3], "steps": [-1], "channels": [9, 4], "streams": ["text"]}
    cache, captured = record(dit, tmp_path / "a.zarr", PROMPTS, [3], PLAIN, **kept), None
    captured = ds.capture(dit, PROMPTS, 3, **kept, **PLAIN)
    for site in SITES:
        assert captured.hidden("text", site).identical(cache.hidden("text", site).compute())
    assert captured.stats("text", "attn_gate").identical(cache.stats("text", "attn_gate").compute())


def test_passes_take_it_as_they_take_a_cache(guided, captured) -> None:
    ranking, other = ds.passes.rank_channels(captured), ds.passes.rank_channels(guided)
    assert np.array_equal(ranking.top(5).ids, other.top(5).ids)
    masks, others = (ds.passes.spatial_masks(source, other.top(5)) for source in (captured, guided))
    assert masks["mask"].equals(others["mask"])
    with pytest.raises(CacheError, match="a capture, without statistics"):
        captured.stats()


def test_what_needs_more_than_the_budget_is_refused_before_the_run(dit, captured, monkeypatch) -> None:
    asked = {"batch_size": 3, **BOTH, **GUIDED}
    monkeypatch.setattr("ditscope.recording.capture.record_batch", None)
    with pytest.raises(InputError, match=r"for a capture of 4 samples; expected at most memory_budget"):
        ds.capture(dit, PROMPTS, SEEDS, memory_budget=captured.nbytes - 1, **asked)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):  # the run itself
        ds.capture(dit, PROMPTS, SEEDS, memory_budget=captured.nbytes, **asked)


def test_it_cannot_be_written_to_and_is_known_by_its_values(dit, captured) -> None:
    with pytest.raises(ValueError, match="read-only"):
        captured.hidden().values[:] = 0
    again, other = (
        ds.capture(dit, PROMPTS, SEEDS, batch_size=3, **BOTH, **GUIDED | {"true_cfg_scale": scale})
        for scale in (GUIDED["true_cfg_scale"], 2.0)
    )
    assert captured.digest == again.digest != other.digest
    assert repr(captured).startswith("<Capture>")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"memory_budget": 0}, "memory_budget=0"),
        ({"sites": ["attention"]}, "site 'attention'"),
        ({"steps": [7]}, "step 7"),
        ({"guidance": 3}, "pipeline argument guidance"),
    ],
)
def test_what_cannot_be_captured_is_refused(dit, given, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.capture(dit, PROMPTS[0], **PLAIN, **given)


def test_it_can_be_saved_as_a_cache(dit, guided, captured, tmp_path) -> None:
    saved = captured.save(tmp_path / "a.zarr")
    for stream in BOTH["streams"]:
        for site in BOTH["sites"]:
            assert saved.hidden(stream, site).identical(captured.hidden(stream, site))
    assert saved.images.identical(captured.images)
    assert saved.trajectory.identical(captured.trajectory)
    assert saved.samples.equals(captured.samples)
    assert saved.truncated.equals(captured.truncated)
    assert saved.config == captured.config
    assert [entry.batch for entry in saved.ledger.values()] == [
        entry.batch for entry in guided.ledger.values()
    ]
    assert ds.cache.verify(saved).ok
    one = ds.capture(dit, "a blue ring", 9, batch_size=3, **BOTH, **GUIDED)
    both = one.save(tmp_path / "a.zarr")
    assert both.samples["prompt"].tolist() == [*captured.samples["prompt"], "a blue ring"]
    assert np.array_equal(both.hidden()[-1], one.hidden()[0])
    with pytest.raises(ConfigMismatchError, match="true_cfg_scale"):
        ds.capture(dit, "a blue ring", 9, batch_size=3, **BOTH, **GUIDED | {"true_cfg_scale": 2.0}).save(
            tmp_path / "a.zarr"
        )


def test_parts_and_modulation_are_saved(dit, tmp_path) -> None:
    kept = {"sites": SITES, "blocks": ["double.1", 3], "steps": [-1], "channels": [9, 4], "streams": ["text"]}
    captured = ds.capture(dit, PROMPTS, 3, **kept, **PLAIN)
    saved = captured.save(tmp_path / "a.zarr")
    for site in SITES:
        assert saved.hidden("text", site).identical(captured.hidden("text", site))


def test_tokens_of_a_text_are_kept_of_what_is_captured_of_it(dit) -> None:
    call = {**GUIDED, "num_inference_steps": 1, "blocks": [0], "channels": [0]}
    text = ds.capture(dit, PROMPTS[0], streams=["text"], branches=["cond"], **call)
    assert text.ledger[0].text.tokens.keys() == {"cond"}
    assert text.token_texts().values[0, 0, :2].tolist() == PROMPTS[0].split()[:2]
    assert not ds.capture(dit, PROMPTS[0], **call).ledger[0].text.tokens
