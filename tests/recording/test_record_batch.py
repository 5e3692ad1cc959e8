"""What a store keeps of the call that its samples were made by."""

from __future__ import annotations

import numpy as np
import torch
import zarr
from pipeline_recording import PLAIN, as_bits, bits, record

import ditscope as ds
from ditscope.models.fingerprint import tensor_digest
from ditscope.recording.record_batch import MOST_TENSOR_BYTES


def test_small_tensors_of_a_call_are_kept_whole(dit, tmp_path) -> None:
    config, made = dit.diffusers_pipeline.transformer.config, torch.Generator().manual_seed(0)
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)[None]
    small = {
        "float": torch.tensor([[0.1, float("nan"), float("-inf"), -0.0, 1e-45]]),
        "patterns": patterns,
        "largest": torch.zeros(1, MOST_TENSOR_BYTES // 4),
    }
    other = {"large": torch.zeros(1, MOST_TENSOR_BYTES // 4 + 1), "odd": torch.ones(1, 3, dtype=torch.int16)}
    embedded = {
        "prompt_embeds": torch.randn(1, 24, config.joint_attention_dim, generator=made),
        "pooled_prompt_embeds": torch.randn(1, config.pooled_projection_dim, generator=made),
    }
    kept = {**small, **embedded}
    arguments = {"numbers": torch.ones(3), **small, **other}
    call = {**PLAIN, "num_inference_steps": 1, "joint_attention_kwargs": {"deep": [arguments]}}
    path = tmp_path / "store"
    cache = record(dit, path, ds.PromptEmbeds("a", **embedded), 5, call, blocks=[0], channels=[0])
    assert cache.call_tensors.keys() == {tensor_digest(tensor) for tensor in kept.values()}
    (written,) = cache.manifest["config"]["call"]["joint_attention_kwargs"]["deep"]
    assert set(written) == set(arguments)
    assert cache.damaged_lines == ()
    root = zarr.open_group(path, mode="r")
    for name, tensor in kept.items():
        digest = {**written, **cache.specs[0].call["embeddings"]}[name]["tensor"]
        for array in (cache.call_tensors[digest], root[f"call/t{digest}"][:]):
            assert (str(array.dtype), array.shape) == (str(tensor.dtype).removeprefix("torch."), tensor.shape)
            assert np.array_equal(bits(array), as_bits(tensor))
    assert ds.verify(path).ok
    file = path / f"call/t{written['patterns']['tensor']}/c.0.0"
    content = bytearray(file.read_bytes())
    content[9] ^= 1
    file.write_bytes(content)
    assert [damage.file for damage in ds.verify(path).damaged] == [str(file.relative_to(path))]
