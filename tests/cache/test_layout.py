import dataclasses
import json
import math

import numpy as np
import pytest
from array_files import plans
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import make_schema

from ditscope.cache import BlockSpec, StepSpec, StoredSite, StreamSpec
from ditscope.cache.layout import (
    ArrayPlan,
    dividing_parts,
    equal_parts,
    indices_of,
    plan_arrays,
    readable_bytes,
    span,
)
from ditscope.errors import InputError

sizes = st.integers(1, 9)


@st.composite
def schemas(draw):
    height, width = draw(sizes), draw(sizes)
    blocks = draw(sizes)
    dtype = draw(st.sampled_from(["float32", "bfloat16"]))
    channels = draw(st.integers(1, 80))
    return make_schema(
        streams=(StreamSpec("image", height * width, height, width), StreamSpec("text", draw(sizes))),
        blocks=tuple(BlockSpec(i, f"b.{i}", "b") for i in range(blocks)),
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(draw(sizes))),
        branches=("cond", "uncond")[: draw(st.integers(1, 2))],
        channels=tuple(range(channels)),
        dtype=dtype,
        shard_bytes=draw(st.integers(1, 2**17)),
    )


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_shards_tile_every_array_exactly_once(schema):
    for plan in plan_arrays(schema).values():
        covered = np.zeros(plan.shape, dtype=np.int8)
        assert len(plan.shards) == plan.shards_per_sample
        for shard in plan.shards:
            covered[plan.region(shard)] += 1
        assert (covered == 1).all()


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_every_index_finds_its_shard(schema):
    for plan in plan_arrays(schema).values():
        for index in plan.indices():
            region = plan.region(plan.shard_of(index))
            assert all(part.start <= i < part.stop for part, i in zip(region, index, strict=False))


@given(plans(), st.data())
def test_a_run_is_cut_where_a_file_or_a_chunk_of_several_ends(plan, data):
    length, file, chunk = plan.shape[2], plan.shard[2], plan.chunk[2]
    start = data.draw(st.integers(0, length - 1))
    run = slice(start, data.draw(st.integers(start + 1, length)))
    parts = list(plan.in_one_piece((0, 0, run)))
    assert [each for index, _ in parts for each in indices_of(index)] == list(indices_of((0, 0, run)))
    assert [at for _, own in parts for at in range(length)[own]] == list(range(run.stop - run.start))
    for index, _ in parts:
        positions = [each[2] for each in indices_of(index)]
        assert {plan.shard_of(each) for each in indices_of(index)} == {plan.shard_of(index)}
        assert len({at // file for at in positions}) == 1
        assert chunk == 1 or len({at // chunk for at in positions}) == 1
    fewest = {(at // file, 0 if chunk == 1 else at // chunk) for at in range(run.start, run.stop)}
    assert len(parts) == len(fewest)


@settings(max_examples=60, deadline=None)
@given(schema=schemas())
def test_shards_keep_to_the_target_and_chunks_divide_them(schema):
    for plan in plan_arrays(schema).values():
        assert all(s % c == 0 for s, c in zip(plan.shard, plan.chunk, strict=True))
        payload = math.prod(plan.shape[plan.n_indexed :]) * plan.numpy_dtype.itemsize
        # A single index may exceed the target: a shard is never smaller than one.
        largest = max(math.prod(plan.region_shape(shard)) for shard in plan.shards)
        assert largest * plan.numpy_dtype.itemsize <= max(schema.shard_bytes, payload)


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
    """FLUX.1-dev, 28 steps of 57 blocks: files of 7 steps, since the last of 10 would lack two."""
    schema = make_schema(
        blocks=tuple(BlockSpec(i, f"b.{i}", "b") for i in range(57)),
        steps=tuple(StepSpec(i, 0.5, 500.0) for i in range(28)),
        channels=tuple(range(3072)),
        width=3072,
    )
    plan = plan_arrays(schema)["image/block_output/statistics/over_tokens"]
    values = math.prod(plan.shape) * 4
    assert values <= sum(plan.file_bytes) <= values * 1.001


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
    plan = plan_arrays(schema)["image/block_output/hidden"]
    assert plan.shard == (1, 1, 2, 4096, 3072)
    assert plan.chunk == (1, 1, 1, 4096, 32)
    assert plan.shards_per_sample == 20 * 2 * 29


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e13, "30 TB")]
)
def test_readable_bytes(size, text):
    assert readable_bytes(size) == text


@pytest.mark.parametrize("name", plan_arrays(make_schema()))
def test_json_round_trip(name):
    plan = plan_arrays(make_schema())[name]
    assert ArrayPlan.from_json(name, json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "image/../../evil"},
        {"dtype": "object"},
        {"compression": "bz2"},
        {"dims": ("step", "branch", "block", "token")},
        {"dims": ("step", "branch", "block", "token", "token")},
        {"dims": ("token", "step", "branch", "block", "channel")},
        {"shape": (2, 2, 3, 12, 0)},
        {"shape": (2, 2, 3, 12, 2.5)},
        {"shard": (2, 2, 3, 12, 71)},
        {"shard": (2, 2, 4, 12, 72)},
        {"sharded": False},
        {"shape": (2**20, 2, 3, 12, 70)},
        {"shape": (2, 2, 3, 2**30, 70), "shard": (2, 2, 3, 2**30, 72), "chunk": (1, 1, 1, 2**30, 24)},
    ],
)
def test_plans_that_no_store_of_ours_has_are_refused(changes):
    plan = plan_arrays(make_schema())["image/block_output/hidden"]
    with pytest.raises(InputError, match="expected"):
        dataclasses.replace(plan, **changes)


def test_sites_have_their_own_dims_dtype_and_blocks():
    sites = [
        StoredSite.of("text", "block_output", (0, 4), "bfloat16"),
        StoredSite(
            "image",
            "new_site",
            (1,),
            ("sample", "step", "branch", "block", "frame", "token", "channel"),
            "float16",
            {"frame": 3},
        ),
    ]
    plans = plan_arrays(make_schema(sites))
    assert plans["text/block_output/hidden"].shape == (2, 2, 2, 5, 70)
    new = plans["image/new_site/hidden"]
    assert (new.dtype, new.lengths["frame"], new.lengths["block"]) == ("float16", 3, 1)
    assert "image/block_output/hidden" not in plans


def test_few_tokens_are_cut_as_few():
    image = StreamSpec("image", 12, 3, 4, random_tokens=5)
    plans = plan_arrays(make_schema(streams=(image, StreamSpec("text", 5))))
    assert plans["image/block_output/hidden"].lengths["token"] == 5
    assert plans["image/token_id"].shape == (5,)
    chosen = make_schema(streams=(StreamSpec("image", 12, 3, 4, token_ids=(1, 7)), StreamSpec("text", 5)))
    assert plan_arrays(chosen)["image/block_output/hidden"].lengths["token"] == 2
    assert "image/token_id" not in plan_arrays(chosen)
