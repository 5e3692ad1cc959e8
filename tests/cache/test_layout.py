import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import files_below, make_schema, record

from ditscope.cache import BlockSpec, SampleSpec, StepSpec, StreamSpec, forecast
from ditscope.cache.layout import dividing_parts, equal_parts, plan_arrays, readable_bytes, span

sizes = st.integers(1, 9)


@st.composite
def schemas(draw):
    height, width = draw(sizes), draw(sizes)
    channels = draw(st.integers(1, 80))
    return make_schema(
        streams=(StreamSpec("image", height * width, height, width), StreamSpec("text", draw(sizes))),
        blocks=tuple(BlockSpec(i, f"b.{i}", "b") for i in range(draw(sizes))),
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(draw(sizes))),
        branches=("cond", "uncond")[: draw(st.integers(1, 2))],
        channels=tuple(range(channels)),
        samples=tuple(SampleSpec("a", i) for i in range(draw(st.integers(1, 3)))),
        dtype=draw(st.sampled_from(["float32", "bfloat16"])),
        shard_bytes=draw(st.integers(1, 2**17)),
    )


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_shards_tile_every_array_exactly_once(schema):
    for plan in plan_arrays(schema).values():
        covered = np.zeros(plan.shape, dtype=np.int8)
        for sample in range(len(schema.samples)):
            shards = list(plan.shards(sample))
            assert len(shards) == plan.shards_per_sample
            for shard in shards:
                covered[plan.region(shard)] += 1
                assert plan.region(shard)[0] == slice(sample, sample + 1)
        assert (covered == 1).all()


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_every_index_finds_its_shard(schema):
    for plan in plan_arrays(schema).values():
        for index in plan.indices():
            region = plan.region(plan.shard_of(0, index))
            assert all(part.start <= i < part.stop for part, i in zip(region[1:], index, strict=False))


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_shards_keep_to_the_target_and_chunks_divide_them(schema):
    for plan in plan_arrays(schema).values():
        assert all(s % c == 0 for s, c in zip(plan.shard, plan.chunk, strict=True))
        payload = math.prod(plan.shape[1 + plan.n_indexed :]) * plan.numpy_dtype.itemsize
        # A single index may exceed the target: a shard is never smaller than one.
        assert plan.largest_region_bytes <= max(schema.shard_bytes, payload)


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 500), most=st.integers(-3, 600))
def test_equal_parts(length, most):
    part = equal_parts(length, most)
    count = math.ceil(length / part)
    assert part <= max(1, most) or part == 1
    assert count == math.ceil(length / max(1, most))
    # No part is a sliver: the last one is shorter by less than the number of parts.
    assert part - (length - (count - 1) * part) < count


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 500), most=st.integers(-3, 600))
def test_dividing_parts_pad_nothing_where_a_fair_divisor_exists(length, most):
    part, equal = dividing_parts(length, most), equal_parts(length, most)
    divisors = [n for n in range(equal // 2 + 1, equal + 1) if length % n == 0]
    assert part == (max(divisors) if divisors else equal)


def test_statistics_of_a_large_model_are_not_padded():
    """FLUX.1-dev, 28 steps of 57 blocks: files of 4 steps, since 5 would leave two of them empty."""
    schema = make_schema(
        blocks=tuple(BlockSpec(i, f"b.{i}", "b") for i in range(57)),
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(28)),
        channels=tuple(range(3072)),
        width=3072,
    )
    plan = plan_arrays(schema)["image/stats/block_output/mean"]
    assert plan.shard == (1, 4, 1, 57, 3072)
    values = math.prod(plan.shape) * 4 / len(schema.samples)
    assert sum(map(plan.stored_bytes, plan.shards(0))) == values + 4 * plan.shards_per_sample


def test_span_takes_blocks_then_steps_then_branches():
    lengths = {"step": 20, "branch": 2, "block": 57}
    assert span(lengths, 10, 10 * 20) == {"step": 1, "branch": 1, "block": 19}
    assert span(lengths, 10, 10 * 57) == {"step": 1, "branch": 1, "block": 57}
    assert span(lengths, 10, 10 * 57 * 11) == {"step": 10, "branch": 1, "block": 57}
    assert span(lengths, 10, 10 * 57 * 20) == {"step": 20, "branch": 1, "block": 57}
    assert span(lengths, 10, 10 * 57 * 40) == {"step": 20, "branch": 2, "block": 57}


def test_a_large_model_is_cut_as_designed():
    """FLUX.1-dev at 1024 pixels: 4096 tokens of 3072 channels in bfloat16, 57 blocks, 20 steps."""
    schema = make_schema(
        streams=(StreamSpec("image", 4096, 64, 64),),
        blocks=tuple(BlockSpec(i, f"b.{i}", "b") for i in range(57)),
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(20)),
        channels=tuple(range(3072)),
        width=3072,
    )
    plan = plan_arrays(schema)["image/block_output"]
    assert plan.shard == (1, 1, 1, 2, 4096, 3072)
    assert plan.chunk == (1, 1, 1, 1, 4096, 32)
    assert plan.shards_per_sample == 20 * 2 * 29


@pytest.mark.parametrize("shard_bytes", [2**26, 20_000, 1])
@pytest.mark.parametrize("channels", [70, 31])
def test_forecast_is_exact(tmp_path, shard_bytes, channels):
    schema = make_schema(shard_bytes=shard_bytes, channels=tuple(range(channels)))
    store = record(tmp_path / "a.zarr", schema)
    plans = plan_arrays(schema)
    sizes = dict.fromkeys(("tensors", "stats", "masks", "trajectory", "images"), 0)
    count = 0
    files = files_below(store)
    for plan in plans.values():
        own = [data for name, data in files.items() if name.startswith(f"{plan.path}/c/")]
        sizes[plan.kind] += sum(map(len, own))
        count += len(own)
    expected = forecast(schema)
    assert {name: getattr(expected, name) for name in sizes} == sizes
    assert expected.total == sum(sizes.values())
    assert expected.shards == count
    assert forecast(schema, 1).total * 2 == expected.total


def test_statistics_only_has_no_tensors():
    schema = make_schema(tensors=False)
    assert forecast(schema).tensors == 0
    assert not any(plan.kind == "tensors" for plan in plan_arrays(schema).values())
    assert dataclasses.replace(schema, tensors=True).tensors


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e13, "30 TB")]
)
def test_readable_bytes(size, text):
    assert readable_bytes(size) == text
