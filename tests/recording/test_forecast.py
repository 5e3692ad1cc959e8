"""Forecasts from a configuration alone; those of every family are compared with real runs in ``tests/families``."""

from __future__ import annotations

import pytest
from pipeline_recording import BOTH, PROMPTS, record

from ditscope.cache.forecast import forecast
from ditscope.errors import InputError
from ditscope.models.configuration import configuration_of, read_configuration
from ditscope.recording.forecast import choices, describe_recording, forecast_recording, recording_schema

KEPT = {**BOTH, "blocks": ["single"], "dtype": "float32", "guided": True, "text_tokens": 24}


@pytest.fixture
def configuration(dit):
    pipeline = dit.diffusers_pipeline
    config = dict(pipeline.transformer.config)
    return configuration_of(dit.family, config, vae_pixels=pipeline.vae_scale_factor)


@pytest.mark.parametrize("tensors", [True, False])
def test_a_forecast_is_what_the_store_takes(dit, configuration, tmp_path, tensors) -> None:
    cache = record(dit, tmp_path / "a.zarr", PROMPTS[0], 0, tensors=tensors, blocks="single", **BOTH)
    foreseen = forecast_recording(configuration, 16, 32, 2, tensors=tensors, **KEPT)
    assert foreseen.total == cache.nbytes
    files = [path for path in cache.path.rglob("c.0.*") if path.is_file()]
    assert foreseen.shards == len(files)
    assert foreseen.total == sum(path.stat().st_size for path in files)
    assert foreseen.seconds is None
    assert "about" not in str(foreseen)


def test_a_description_says_what_every_choice_would_take(configuration) -> None:
    def schema(**kept):
        return recording_schema(configuration, 256, 256, 8, guided=True, **kept)

    whole = schema()
    found = choices(configuration, whole)
    assert list(found) == [
        "--no-tensors",
        "--blocks double",
        "--blocks single",
        "--steps 0:8:4",
        "--steps -1",
        "--branches cond",
        "--tokens 256",
        "--channels 0:64",
    ]
    fewer = {option: schema(**chosen) for option, chosen in found.items()}
    first, full, *lines = describe_recording(configuration, whole, fewer).splitlines()
    for part in ("10 blocks of 128 channels", "64 x 64 image tokens", "8 steps", "cond uncond"):
        assert part in first
    assert f"in {forecast(whole, 1).shards} files" in full
    for line, (option, less) in zip(lines, fewer.items(), strict=True):
        share = forecast(less, 1).total / forecast(whole, 1).total
        assert line.split()[: len(option.split())] == option.split()
        assert f"{100 * share:.2g} % of it" in line
        assert share < 0.7
    kept = schema(blocks="single", tokens=4, steps=[1], branches="cond", channels=[0])
    assert list(choices(configuration, kept)) == ["--no-tensors"]
    assert "4 of 64 x 64 image tokens" in describe_recording(configuration, kept, {})


def test_the_size_and_the_text_are_those_of_the_call(configuration, untrained_folder) -> None:
    own = read_configuration(str(untrained_folder))
    assert (own.size(), own.size(128), own.text_tokens) == ((64, 64), (128, 64), 24)
    assert (configuration.size(), configuration.text_tokens) == ((1024, 1024), 512)
    both = recording_schema(own, *own.size(), 2, streams=("image", "text"))
    assert (both.stream("text").tokens, both.stream("image").tokens) == (24, 256)


@pytest.mark.parametrize("changes", [{"streams": "image"}])
def test_text_comes_with_its_length(configuration, changes) -> None:
    with pytest.raises(InputError, match="text_tokens="):
        recording_schema(configuration, 16, 32, 2, **{**KEPT, **changes})


@pytest.mark.parametrize("n_steps", [0, 1.5, True])
def test_the_number_of_steps_is_a_whole_number(configuration, n_steps) -> None:
    with pytest.raises(InputError, match="num_inference_steps"):
        recording_schema(configuration, 16, 32, n_steps, **KEPT)
