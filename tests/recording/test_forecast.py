"""Forecasts from a configuration alone; those of every family are compared with real runs in ``tests/families``."""

from __future__ import annotations

import pytest
from pipeline_recording import BOTH, PROMPTS, record

from ditscope.errors import InputError
from ditscope.models.configuration import configuration_of
from ditscope.recording.forecast import describe_recording, forecast_recording, recording_schema

KEPT = {**BOTH, "blocks": ["single"], "dtype": "float32", "guided": True, "text_tokens": 24}


@pytest.fixture
def configuration(dit):
    pipeline = dit.diffusers_pipeline
    config = dict(pipeline.transformer.config)
    return configuration_of(dit.family, config, vae_pixels=pipeline.vae_scale_factor)


@pytest.mark.parametrize("tensors", [True, False])
def test_a_forecast_is_what_the_store_takes(dit, configuration, tmp_path, tensors) -> None:
    cache = record(dit, tmp_path / "a.zarr", PROMPTS[0], 0, tensors=tensors, blocks="single", **BOTH)
    foreseen = forecast_recording(configuration, 32, 48, 2, tensors=tensors, **KEPT)
    assert foreseen.total == cache.nbytes
    files = [path for path in cache.path.rglob("c.0.*") if path.is_file()]
    assert foreseen.shards == len(files)
    assert foreseen.total == sum(path.stat().st_size for path in files)
    assert foreseen.seconds is None
    assert "about" not in str(foreseen)


def test_a_description_has_both_sizes(configuration) -> None:
    schema = recording_schema(configuration, 32, 48, 2, **KEPT)
    first, full, statistics = describe_recording(configuration, schema).splitlines()
    for part in (
        "6 of 10 blocks of 128 channels",
        "8 x 12 image tokens and 24 text tokens",
        "2 steps",
        "cond uncond",
    ):
        assert part in first
    for line, tensors in ((full, True), (statistics, False)):
        assert (
            f"in {forecast_recording(configuration, 32, 48, 2, tensors=tensors, **KEPT).shards} files" in line
        )


@pytest.mark.parametrize("changes", [{"text_tokens": None}, {"streams": "image"}])
def test_text_comes_with_its_length(configuration, changes) -> None:
    with pytest.raises(InputError, match="text_tokens="):
        recording_schema(configuration, 32, 48, 2, **{**KEPT, **changes})


@pytest.mark.parametrize("n_steps", [0, 1.5, True])
def test_the_number_of_steps_is_a_whole_number(configuration, n_steps) -> None:
    with pytest.raises(InputError, match="num_inference_steps"):
        recording_schema(configuration, 32, 48, n_steps, **KEPT)
