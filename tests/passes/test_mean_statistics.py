from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ditscope.passes import mean_statistics as module
from ditscope.passes.mean_statistics import mean_statistics
from ditscope.precision import limit

DIMS = ("sample", "step", "branch", "block", "channel")


def recorded(shape: tuple[int, ...], seed: int, holes: float = 0.1) -> xr.Dataset:
    """Statistics as they are recorded, in float32, some of them without a finite value, some at the limit."""
    random = np.random.default_rng(seed)
    arrays = {name: abs(random.normal(2, 1, shape)).astype(np.float32) for name in ("mean_abs", "std")}
    arrays["mean"] = random.normal(0, 1, shape).astype(np.float32)
    arrays["abs_max"] = random.choice([1.0, 7.0, limit("float16")], shape).astype(np.float32)
    lost = random.random(shape) < holes
    for values in arrays.values():
        values[lost] = np.nan
    arrays["nonfinite"] = random.integers(0, 3, shape).astype(np.int32)
    return xr.Dataset({name: (DIMS, values) for name, values in arrays.items()}, attrs={"dtype": "float16"})


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_means_of_named_statistics_in_numpy(data):
    shape = data.draw(st.tuples(*(st.integers(1, most) for most in (6, 3, 2, 4, 5))))
    stats = recorded(shape, data.draw(st.integers(0, 2**32 - 1)))
    over = data.draw(st.sets(st.sampled_from(DIMS[:-1])))
    chunks = {dim: data.draw(st.integers(1, size)) for dim, size in zip(DIMS, shape, strict=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", data.draw(st.sampled_from([1, 10, 1 << 16])))
        found = mean_statistics(stats.chunk(chunks), [dim for dim in DIMS if dim in over]).compute()
    wide = stats.astype(np.float64)
    for name, each in {
        "mean_abs": wide["mean_abs"],
        "abs_mean": abs(wide["mean"]),
        "std": wide["std"],
        "energy": wide["mean"] ** 2 + wide["std"] ** 2,
    }.items():
        xr.testing.assert_allclose(found[name], each.mean(over), rtol=1e-14)
    xr.testing.assert_identical(found["abs_max"], wide["abs_max"].max(over).rename("abs_max"))
    assert (found["nonfinite"] == stats["nonfinite"].sum(over)).all()
    assert (found["saturated"] == (stats["abs_max"] == 65504).sum(over)).all()


def test_one_task_reads_a_chunk_and_none_is_read_twice():
    stats, read = recorded((8, 2, 1, 3, 4), 0, holes=0), []
    lazy = stats.chunk(sample=2)
    for name in lazy:
        values = lazy[name].data.map_blocks(
            lambda b, name=name: (read.append(name), b)[1], meta=lazy[name].data._meta
        )
        lazy[name] = lazy[name].copy(data=values)
    mean_statistics(lazy, ["sample", "step", "branch"]).compute()
    assert sorted(read) == sorted(4 * list(stats))
