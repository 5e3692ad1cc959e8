"""What is recorded on a GPU is what plain hooks see there, bit for bit."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import IN_BOTH_WAYS, N_STEPS, PROMPTS, SEEDS, batch, branches, call, returned, size, streams

import ditscope as ds

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GUIDED = pytest.mark.parametrize("name", ["flux", "sd3"], ids=["a visit for each branch", "a doubled batch"])


def recorded(dit, path, name: str, given, **kept) -> ds.Cache:
    # Of a generator on the CPU the noise is the same everywhere.
    seeds = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    blocks = returned(name, len(dit.blocks))
    with ds.record(dit, path, streams=streams(name), blocks=blocks, batch_size=2, **kept) as rec:
        return rec.generate(batch(name), seeds, **given)


@IN_BOTH_WAYS
@GUIDED
def test_what_is_recorded_is_what_plain_hooks_see(
    folder_of, tmp_path, monkeypatch, name, dtype, square
) -> None:
    from ditscope.recording import device_copies, recorded_visit, transfer

    dit, given = ds.load(str(folder_of(name)), torch_dtype=dtype, device="cuda"), call(name, square)
    first = recorded(dit, tmp_path / "together.zarr", name, given)
    # Each tensor alone, as large ones go, and the host close behind the device.
    monkeypatch.setattr(recorded_visit, "Gathering", lambda: transfer.Gathering(1))
    monkeypatch.setattr(device_copies, "QUEUED_BYTES", 2**14)
    second = recorded(dit, tmp_path / "alone.zarr", name, given)
    plain = plain_hooks.DiffusionPipeline.from_pretrained(folder_of(name), torch_dtype=dtype).to("cuda")
    seen = plain_hooks.run(plain, name, batch(name), SEEDS * 2, **given)
    for cache in (first, second):
        assert np.array_equal(cache.images.values, seen.images)
        assert np.array_equal(cache.trajectory.transformer_output, first.trajectory.transformer_output)
        assert cache.stats().identical(first.stats())
        for stream in streams(name):
            hidden = cache.hidden(stream).load()
            for step in range(N_STEPS):
                for branch in branches(name):
                    visit, rows = plain_hooks.branch_rows(name, True, step, branch, images=2)
                    for block in returned(name, len(dit.blocks)):
                        expected = seen.hidden[visit, block, stream][rows].float().cpu().numpy()
                        values = hidden.sel(step=step, branch=branch, block=block).values.astype(np.float32)
                        assert np.array_equal(values[:, : expected.shape[1]], expected)
        values = cache.hidden("image").astype(np.float32)
        means = cache.stats("image", "block_output")["mean"]
        assert np.allclose(means, values.mean("token"), rtol=1e-4, atol=1e-4 * float(abs(values).max()))


@GUIDED
def test_every_claim_holds(folder_of, name) -> None:
    dit = ds.load(str(folder_of(name)), device="cuda")
    report = dit.check(PROMPTS[0], **size(name))
    assert report.ok, report
