"""Every way that ditscope is compared with does the same work: it keeps the same hidden states, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import load_file

import ditscope as ds
import record
from ditscope.vocabulary import RECORDED_STATISTICS
from ways_to_record import BY_HAND, FULL, STATISTICS, STATISTICS_BY_HAND, WAYS

PROMPTS, STEPS, BLOCKS = 3, 2, 8


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    work = record.flux("bfloat16", PROMPTS, quick=True)
    work = replace(work, prompts=PROMPTS, batch_size=2, call={**work.call, "num_inference_steps": STEPS})
    return work.task(tmp_path_factory.mktemp("model"), "cpu")


@pytest.fixture(scope="module")
def kept(task, tmp_path_factory):
    """What ditscope keeps: bits ``[sample, visit, block, token, channel]``."""
    path = tmp_path_factory.mktemp("kept") / "full"
    WAYS[FULL].run(task, path)
    return ds.open_cache(path).hidden().isel(branch=0).values.view(np.int16)


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(torch.int16).numpy()


def torch_save(task, folder):
    files = [torch.load(folder / f"{first}.pt") for first, _ in task.batches()]
    return together(lambda v, b: np.concatenate([bits(file[v, b]) for file in files]))


def safetensors(task, folder):
    files = [load_file(folder / f"{sample}.safetensors") for sample in range(PROMPTS)]
    return together(lambda v, b: np.stack([bits(file[f"{v}.{b}"]) for file in files]))


def nnsight_cache(task, folder):
    files = [torch.load(folder / f"{first}.pt", weights_only=False) for first, _ in task.batches()]
    transformer = task.dit.transformer
    paths = [b.path for b in (*transformer.transformer_blocks, *transformer.single_transformer_blocks)]
    return together(lambda v, b: np.concatenate([bits(file[paths[b]].output[v][1]) for file in files]))


def together(read):
    """``[sample, visit, block, token, channel]`` from ``[sample, token, channel]`` of a visit and a block."""
    visits = [np.stack([read(v, b) for b in range(BLOCKS)], axis=1) for v in range(STEPS)]
    return np.stack(visits, axis=1)


READ = {
    "hooks, torch.save": torch_save,
    "hooks, safetensors": safetensors,
    "hooks, zarr": lambda task, folder: zarr.open_array(folder, mode="r")[...],
    "nnsight cache, torch.save": nnsight_cache,
}


@pytest.mark.parametrize("way", BY_HAND)
def test_what_is_kept_by_hand_is_what_ditscope_keeps(task, kept, tmp_path, way) -> None:
    WAYS[way].run(task, tmp_path / "by hand")
    assert np.array_equal(READ[way](task, tmp_path / "by hand"), kept)
    assert WAYS[way].gives_up
    assert not any(block._forward_hooks for block in task.blocks)


def test_statistics_by_hand_are_those_that_ditscope_keeps(task, tmp_path) -> None:
    WAYS[STATISTICS].run(task, tmp_path / "ours")
    WAYS[STATISTICS_BY_HAND].run(task, tmp_path / "by hand")
    stats = ds.open_cache(tmp_path / "ours").stats().isel(branch=0)
    files = [torch.load(tmp_path / "by hand" / f"{first}.pt") for first, _ in task.batches()]
    for number, name in enumerate(RECORDED_STATISTICS):
        by_hand = together(lambda v, b, at=number: np.concatenate([file[v, b][at].numpy() for file in files]))
        np.testing.assert_allclose(stats[name], by_hand, rtol=1e-4, atol=1e-5)


def test_bytes_and_visits_are_known(task, kept) -> None:
    assert task.hidden_bytes == kept.nbytes
    assert task.visits == STEPS
