"""A float16 pipeline that diffusers clips: what is counted is what plain hooks see."""

from __future__ import annotations

import plain_hooks
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline
from family_calls import PROMPTS, call

import ditscope as ds

CALL = {**call("flux"), "true_cfg_scale": 1.0}


@pytest.fixture(scope="module")
def clipped(folder_of, tmp_path_factory):
    """The tiny FLUX.1 with a last block that grows out of float16 in three channels: plain, and opened."""
    plain = DiffusionPipeline.from_pretrained(folder_of("flux"), torch_dtype=torch.float16)
    last = plain.transformer.single_transformer_blocks[-1].proj_out
    with torch.no_grad():
        last.bias[3] = torch.inf
        last.weight[5:7] *= 20_000
    folder = tmp_path_factory.mktemp("clipped") / "flux"
    plain.save_pretrained(folder)
    return plain, ds.load(str(folder), torch_dtype=torch.float16)


@pytest.mark.parametrize("kept", [{}, {"stats": False}, {"tensors": False}], ids=["both", "tensors", "stats"])
def test_counts_are_those_of_plain_hooks(clipped, tmp_path, kept):
    plain, dit = clipped
    with ds.record(dit, tmp_path / "a.zarr", streams=["image", "text"], **kept) as rec:
        cache = rec.generate(PROMPTS[0], 3, **{**tiny.TINY["flux"].call, **CALL})
    seen = plain_hooks.run(plain, "flux", PROMPTS[:1], [3], **CALL)
    expected: dict[tuple, int] = {}
    for (_, block, stream), hidden in seen.hidden.items():
        for channel in range(hidden.shape[-1]):
            count = int((hidden[..., channel].abs() == 65504).sum())
            if count:
                key = (0, stream, "block_output", block, channel)
                expected[key] = expected.get(key, 0) + count
    assert {(stream, channel) for _, stream, _, _, channel in expected} >= {("image", 3), ("text", 5)}
    found = cache.saturated.set_index(["sample", "stream", "site", "block", "channel"])["count"]
    assert found.to_dict() == expected
    assert f"{sum(expected.values())} values at the limit of float16" in repr(cache)
    with pytest.warns(UserWarning, match="limit of float16"):
        ranking = ds.passes.rank_channels(cache)
    in_image = {(block, channel) for _, stream, _, block, channel in expected if stream == "image"}
    marked = ranking.saturated.stack(at=["block", "channel"])
    assert set(marked["at"].values[marked.values].tolist()) == in_image
