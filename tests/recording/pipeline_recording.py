"""A recording of the untrained pipeline that several files of tests make, and compare with plain hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import bare_pipeline
import ditscope as ds
from ditscope.cache.writer import CacheWriter

PROMPTS = [
    "a small red circle at the left on a plain blue background",
    "a large white star at the top on a striped purple background",
]
SEEDS = [3, 8]
SAMPLES = [(prompt, seed) for prompt in PROMPTS for seed in SEEDS]
GUIDED = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
PLAIN = {"num_inference_steps": 3, **bare_pipeline.PLAIN}
BOTH = {"streams": ("image", "text"), "sites": ("block_input", "block_output")}


def record(dit, path: Path, prompts=PROMPTS, seeds=SEEDS, call=GUIDED, **keep: Any) -> ds.Cache:
    with ds.record(dit, path, **keep) as rec:
        return rec.generate(prompts, seeds, **call)


def drop(path: Path, sample: int) -> None:
    """Take a committed sample out of a store, as if it had not been recorded yet."""
    cache = ds.open_cache(path)
    with CacheWriter.create_or_resume(path, cache.schema, cache.manifest) as writer:
        writer.drop(sample)


def bits(array: Any) -> np.ndarray:
    """An array's values as they are in memory."""
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.dtype.itemsize}")


def as_bits(tensor: torch.Tensor) -> np.ndarray:
    """The same of a tensor."""
    return tensor.contiguous().view(torch.uint16 if tensor.dtype == torch.bfloat16 else torch.uint32).numpy()
