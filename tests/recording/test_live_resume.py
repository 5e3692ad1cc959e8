"""A recording goes on only with the model as it was: what changed since is refused by name, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from peft import LoraConfig
from pipeline_recording import PLAIN, PROMPTS, record
from test_record_again import StoppedError, contents, data_files, stop_commit_of

import ditscope as ds
from ditscope.errors import ConfigMismatchError
from ditscope.models import versions
from ditscope.models.live_state import live_digest, live_state

CALL = {**PLAIN, "num_inference_steps": 1}


def with_adapter(folder) -> Any:
    """The pipeline opened, then given an adapter: the same one each time."""
    dit = ds.load(str(folder))
    targets = ["attn.to_out.0", "proj_mlp"]  # no module at which something is read
    with torch.random.fork_rng():
        torch.manual_seed(1)
        dit.diffusers_pipeline.transformer.add_adapter(
            LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False), "style"
        )
    return dit


def recorded(dit, path) -> ds.Cache:
    return record(dit, path, PROMPTS, 3, CALL, blocks=[0], channels=range(8))


@pytest.fixture(scope="module")
def whole(untrained_folder, folder) -> ds.Cache:
    return recorded(with_adapter(untrained_folder), folder / "live.zarr")


@pytest.fixture
def broken_off(untrained_folder, tmp_path):
    """A store of two samples, one of them committed, and the model that recorded it."""
    dit = with_adapter(untrained_folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_commit_of(1, monkeypatch)
        with pytest.raises(StoppedError):
            recorded(dit, tmp_path / "a.zarr")
    cache = ds.open_cache(tmp_path / "a.zarr")
    assert cache.committed == (0,)
    assert cache.samples["live"].dropna().tolist() == [live_digest(live_state(dit))]
    return dit, cache.path


class Elsewhere(FlowMatchEulerDiscreteScheduler):
    """A scheduler that differs by its module alone."""


class Attention(FluxAttnProcessor):
    """A processor that differs by its name alone."""


def swap_scheduler(pipeline) -> None:
    pipeline.scheduler = Elsewhere.from_config(pipeline.scheduler.config)


def unload(pipeline) -> None:
    pipeline.transformer.delete_adapters("style")
    pipeline.unload_lora_weights()


def swap_processors(pipeline) -> None:
    pipeline.transformer.set_attn_processor(Attention())


def set_eps(pipeline) -> None:
    pipeline.transformer.norm_out.norm.eps = 0.1


def hook(pipeline) -> None:
    pipeline.vae.decoder.register_forward_hook(lambda *_: None)


ADAPTER = r"live\.transformer\.adapters\.style"
CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "scale": (lambda p: p.set_adapters(["style"], [0.25]), rf"{ADAPTER}\.scale: found 2\.0, expected 0\.5"),
    "disabled": (lambda p: p.disable_lora(), rf"{ADAPTER}\.disabled: found False, expected True"),
    "fused": (
        lambda p: p.fuse_lora(components=["transformer"]),
        rf"weights_fingerprint: found .*{ADAPTER}\.fused: found False, expected True",
    ),
    "unloaded": (unload, rf"weights_fingerprint: found .*{ADAPTER}: found {{.*}}?, expected <absent>"),
    "processors": (
        swap_processors,
        r"processors\.diffusers\.\S+\.FluxAttnProcessor: found 10, expected <absent>;"
        r" config.live.transformer.processors\.\S+\.Attention: found <absent>, expected 10",
    ),
    "scheduler": (
        swap_scheduler,
        r"live\.scheduler\.class: found 'diffusers\.schedulers\.\S+, expected '\S*test_live_resume\.Elsewhere",
    ),
    "eps": (set_eps, r"LayerNorm\.eps: found 1e-06, expected {'values': {'1e-06': \d+, '0\.1': \['norm_out"),
    "hook": (hook, r"live\.vae\.hooks: found <absent>, expected {'decoder': \['\S*test_live_resume\.hook\."),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_recording_does_not_go_on_with_a_model_that_was_changed(broken_off, what) -> None:
    dit, path = broken_off
    change, message = CHANGES[what]
    change(dit.diffusers_pipeline)
    before = contents(path)
    with pytest.raises(ConfigMismatchError, match=message):
        recorded(dit, path)
    assert contents(path) == before


def test_a_recording_does_not_go_on_with_another_version_of_a_library(broken_off, monkeypatch) -> None:
    dit, path = broken_off
    before, honest = contents(path), versions.version
    monkeypatch.setattr(versions, "version", lambda name: "0.43.0" if name == "diffusers" else honest(name))
    with pytest.raises(
        ConfigMismatchError,
        match=rf"live\.versions\.diffusers: found '{honest('diffusers')}', expected '0\.43\.0'",
    ):
        recorded(dit, path)
    assert contents(path) == before


def test_a_recording_goes_on_with_the_same_model_opened_anew(broken_off, untrained_folder, whole) -> None:
    _, path = broken_off
    resumed = recorded(with_adapter(untrained_folder), path)
    assert resumed.complete
    assert resumed.manifest["config_hash"] == whole.manifest["config_hash"]
    assert data_files(path) == data_files(whole.path)
    assert resumed.samples["live"].nunique() == 1


def test_a_model_that_changes_during_a_recording_commits_no_sample_of_it(untrained_folder, tmp_path) -> None:
    """As a callback or another thread does it: here in the decoding of the second image."""
    dit = with_adapter(untrained_folder)
    pipeline, runs = dit.diffusers_pipeline, []

    def second_changes(*_: Any) -> None:
        runs.append(1)
        if len(runs) == 3:  # one step is over before a probe stops it
            pipeline.set_adapters(["style"], [0.25])

    pipeline.vae.decoder.register_forward_pre_hook(second_changes)
    with pytest.raises(
        ConfigMismatchError, match=r"changed meanwhile \(\S*adapters\.style\.scale: found 0\.5, expected 2\.0"
    ):
        recorded(dit, tmp_path / "a.zarr")
    assert ds.open_cache(tmp_path / "a.zarr").committed == (0,)
    pipeline.set_adapters(["style"], [1.0])
    assert recorded(dit, tmp_path / "a.zarr").complete


def test_weights_written_in_place_during_a_recording_commit_no_sample_of_it(
    untrained_folder, tmp_path
) -> None:
    dit = with_adapter(untrained_folder)
    weight, runs = dit.diffusers_pipeline.transformer.x_embedder.weight, []

    def second_writes(pipeline: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        runs.append(step)
        if len(runs) == 2:
            weight.data[0, 0] += 1
        return {}

    call = {**CALL, "callback_on_step_end": second_writes}
    with pytest.raises(ConfigMismatchError, match=r"changed meanwhile \(weights_fingerprint: found"):
        record(dit, tmp_path / "a.zarr", PROMPTS, 3, call, blocks=[0], channels=range(8))
    assert ds.open_cache(tmp_path / "a.zarr").committed == (0,)
