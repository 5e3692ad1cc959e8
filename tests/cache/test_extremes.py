import numpy as np
import pytest
from array_files import write_array
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import make_schema

from ditscope.cache.extremes import extremes
from ditscope.cache.layout import plan_arrays
from ditscope.cache.shard_encoding import file_form
from ditscope.precision import limit


def counted(plan, values, tmp_path):
    """NaN and infinite values, and saturated ones by block and channel, as the files' chunks have them."""
    nonfinite, saturated = 0, np.zeros((plan.lengths["block"], plan.lengths["channel"]), int)
    for known in write_array(tmp_path, plan, values, [plan.path]).values():
        for found in known.extremes:
            nonfinite += found.nonfinite
            channels = slice(found.first_channel, found.first_channel + len(found.saturated))
            saturated[found.block, channels] += found.saturated
    return nonfinite, saturated


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 70), shard_bytes=st.sampled_from([1, 2**26]))
def test_counts_are_those_of_numpy(dtype, seed, channels, shard_bytes, tmp_path_factory):
    schema = make_schema(dtype=dtype, channels=tuple(range(channels)), stats=False, shard_bytes=shard_bytes)
    plan = plan_arrays(schema)["image/block_output/hidden"]
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(1, *plan.shape)).astype(plan.numpy_dtype)
    most = limit(dtype)
    for odd in (np.nan, np.inf, -np.inf, most, most, -most):
        at = tuple(rng.integers(0, values.shape))
        values[at] = odd
    # The next smaller number is not at the limit.
    bits = f"u{values.dtype.itemsize}"
    values[0, 0, 0, 0, 0, 0] = (np.array(most, values.dtype).view(bits) - 1).view(values.dtype)
    nonfinite, saturated = counted(plan, values, tmp_path_factory.mktemp("a"))
    wide = values.astype(np.float64)
    assert nonfinite == (~np.isfinite(wide)).sum()
    np.testing.assert_array_equal(saturated, (np.abs(wide) == most).sum(axis=(0, 1, 2, 4)))


def test_padding_of_channels_is_not_counted_and_chunks_without_are_left_out(tmp_path):
    plan = plan_arrays(make_schema())["image/block_output/hidden"]
    assert plan.shape[-1] % plan.chunk[-1]
    values = np.ones((1, *plan.shape), plan.numpy_dtype)
    assert counted(plan, values, tmp_path) == (0, pytest.approx(np.zeros((3, 70))))
    form = file_form(plan, plan.shards[0])
    ones = np.ones(form.nbytes, np.uint8)
    for number in range(form.n_chunks):
        assert extremes(plan, plan.shards[0], form, ones, number) is None
