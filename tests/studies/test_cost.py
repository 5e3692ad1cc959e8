"""What a design would take elsewhere follows from the configuration and from nothing else."""

from __future__ import annotations

import pytest

from ditscope.models.configuration import configuration_of
from ditscope.models.families.flux import FLUX
from ditscope.recording.forecast import forecast_recording
from ditscope.studies import Work, cost


@pytest.fixture(scope="module")
def flux():
    return configuration_of(FLUX, {"guidance_embeds": True}, vae_pixels=8, name="FLUX.1-dev")


def test_hours_are_operations_over_their_rate(flux) -> None:
    assert flux.parameters == pytest.approx(11.9e9, rel=0.01)  # as published: 12 billion
    expected = cost(Work(100), flux, 28)
    tokens = 64 * 64 + 512
    operations = 2 * flux.parameters * tokens + 4 * 57 * tokens**2 * 3072
    assert expected.passes == 2800
    assert expected.gpu_hours == pytest.approx(2800 * operations / 4e14 / 3600)
    # An H200 took 178 ms a step (benchmarks/on_a_gpu.md): the forecast lies above it, by less than twice as much.
    assert 0.178 < expected.gpu_hours * 3600 / 2800 < 2 * 0.178
    assert cost(Work(100), flux, 28, guided=True).passes == 5600


def test_disk_is_that_of_the_recordings(flux) -> None:
    kept = {"tensors": False}
    one = forecast_recording(flux, 1024, 1024, 28, **kept).total
    expected = cost(Work(100, {"statistics": (12, kept), "none": (0, {})}), flux, 28)
    assert expected.disk_bytes == 12 * one
    assert "FLUX.1-dev" in str(expected)
    assert "hours on an H100" in str(expected)
