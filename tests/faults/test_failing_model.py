"""A model that fails in a block, in the middle of a recording: what was committed stays."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import bare_pipeline
import ditscope as ds
from ditscope.cache.shards import SAFE
from ditscope.cache.verification import verify

PROMPT, SEEDS = "a small red circle at the left on a plain blue background", [0, 1, 2]
CALL = {"num_inference_steps": 2, **bare_pipeline.PLAIN}
BLOCK, CHANNEL = 6, 5
VISIT = 3
"""The second sample's second; the call is known by then, and not looked at again."""


@dataclass
class Fault:
    """What happens inside a block at one of its calls."""

    at: int = -1
    error: Exception | None = None
    calls: int = 0

    def set(self, at: int = -1, error: Exception | None = None) -> None:
        self.at, self.error, self.calls = at, error, 0

    def happens(self, output: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls - 1 != self.at:
            return output
        if self.error is not None:
            raise self.error
        output = output.clone()
        output[:, -1] = torch.nan  # the image's last token
        return output


FAULT = Fault()


def hook(module, inputs, output):
    # What a hook's code names is part of the model's state, as the hook is.
    return sys.modules[__name__].FAULT.happens(output)


@pytest.fixture(scope="module")
def fault(dit):
    inside = dit.diffusers_pipeline.transformer.single_transformer_blocks[BLOCK - 4].act_mlp
    handle = inside.register_forward_hook(hook)
    yield FAULT
    handle.remove()


def record(dit, path: Path, **kept) -> ds.Cache:
    with ds.record(dit, path, streams=["image", "text"], **kept) as rec:
        return rec.generate(PROMPT, SEEDS, **CALL)


def content(path: Path, samples="012") -> dict[str, bytes]:
    """Every file of some samples."""
    files = [file for sample in samples for file in sorted(path.rglob(f"*/*/c.{sample}.*"))]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def undisturbed(dit, fault, tmp_path_factory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    record(dit, path)
    return content(path)


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize("error", [ValueError("a block that fails"), OUT_OF_MEMORY], ids=["error", "memory"])
def test_a_block_that_raises_harms_no_committed_sample(dit, fault, undisturbed, tmp_path, error) -> None:
    path = tmp_path / "a.zarr"
    fault.set(VISIT, error)
    with pytest.raises(type(error), match=str(error)) as failed:
        record(dit, path)
    assert failed.value.__notes__ == [f"while generating sample 1: {SAFE}"]
    left = ds.open_cache(path)
    assert left.committed == (0,)
    assert verify(path).ok
    kept = content(path, "0")
    assert kept
    assert kept.items() <= undisturbed.items()
    fault.set()
    assert record(dit, path).complete
    assert content(path) == undisturbed
    assert verify(path).ok


@pytest.mark.parametrize("stats", [True, False])
def test_nan_from_a_block_is_counted_and_named(dit, fault, undisturbed, tmp_path, stats) -> None:
    fault.set(VISIT)
    cache = record(dit, tmp_path / "a.zarr", stats=stats)
    fault.set()
    odd = {s: ~np.isfinite(cache.hidden(s).values.astype(np.float32)) for s in ("image", "text")}
    counted = cache.nonfinite.set_index(["sample", "stream"])["count"]
    for stream, where in odd.items():
        assert where[0].sum() == where[2].sum() == 0
        assert not where[1, 0].any()
        assert not where[1, 1, :, :BLOCK].any()
        assert where[1, 1, :, BLOCK, -1].all() == (stream == "image")
        assert counted.get((1, stream), 0) == where[1].sum()
    assert odd["image"].any()
    if stats:
        nonfinite = cache.stats("image", "block_output")["nonfinite"].load()
        assert np.array_equal(nonfinite, odd["image"].sum(axis=4))
        assert int(nonfinite.block[nonfinite.any(["sample", "step", "branch", "channel"])][0]) == BLOCK
        assert content(tmp_path / "a.zarr", "02").items() <= undisturbed.items()
