"""Files of one array outside of a store, with the metadata that plain zarr readers need."""

from __future__ import annotations

import itertools
import json

import numpy as np
from hypothesis import strategies as st

from ditscope.cache import files
from ditscope.cache.layout import ArrayPlan
from ditscope.cache.shards import Buffers, FileBuffer, ShardWriter, Spent
from ditscope.cache.zarr_metadata import array_metadata


@st.composite
def plans(draw, sharded=None, dtype=None, kind="tensors"):
    """Any array that a manifest may have: lengths, files and chunks that do and do not divide each other."""
    sharded = draw(st.booleans()) if sharded is None else sharded
    shape, shard, chunk = [], [], []
    for _ in range(3):
        length = draw(st.integers(1, 5))
        part = draw(st.integers(1, length))
        shape, chunk = [*shape, length], [*chunk, part]
        shard.append(part * draw(st.integers(1, -(-length // part))) if sharded else part)
    for most in (6, 20):
        length = draw(st.integers(1, most))
        part = draw(st.integers(1, length)) if sharded else length
        shape, chunk, shard = [*shape, length], [*chunk, part], [*shard, -(-length // part) * part]
    dtype = dtype or draw(st.sampled_from(["float32", "bfloat16", "float16", "uint8", "int32"]))
    dims = ("step", "branch", "block", "token", "channel")
    return ArrayPlan("image/a/hidden", kind, dims, tuple(shape), tuple(shard), tuple(chunk), dtype, sharded)


def random_values(plan, samples=1, seed=0):
    """Any bits, NaNs with payload and infinities among them: ``[sample, ...]``."""
    size = plan.numpy_dtype.itemsize
    shape = (samples, *plan.shape[:-1], plan.shape[-1] * size)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8).view(plan.numpy_dtype)


def write_array(folder, plan, values, counted=()):
    """Write samples into memory that held something else before; return what is known of each file, by name."""
    files.make_folders(folder / plan.path)
    files.replace(folder / plan.path / "zarr.json", json.dumps(array_metadata(plan, len(values))).encode())
    buffers, futures = Buffers(2**30), {}
    for size in {FileBuffer(plan, 0, shard, buffers).form.nbytes for shard in plan.shards}:
        buffers.give_back(np.full(size, 0xAB, np.uint8), pending=False)
    writer = ShardWriter(folder, buffers, 1, Spent(), counted)
    for sample, shard in itertools.product(range(len(values)), plan.shards):
        buffer = FileBuffer(plan, sample, shard, buffers)
        parts = plan.region(shard)[: plan.n_indexed]
        for index in itertools.product(*(range(part.start, part.stop) for part in parts)):
            assert not buffer.complete
            buffer.put(index, values[sample][index], np.copyto)
        assert buffer.complete
        futures[plan.file_name(sample, shard)] = writer.submit(buffer)
    writer.close()
    writer.raise_failure()
    return {name: future.result() for name, future in futures.items()}


def tensorstore_of(folder, plan):
    """The array as TensorStore has it."""
    import tensorstore

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder / plan.path}/"},
        "store_data_equal_to_fill_value": True,
    }
    return tensorstore.open(spec, open=True).result()
