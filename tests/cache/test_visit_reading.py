import dataclasses
import itertools

import ml_dtypes
import numpy as np
import pytest
from store_recording import (
    TEXT_TOKENS,
    addresses,
    at,
    bits,
    fill,
    hidden_value,
    make_schema,
    open_writer,
    put,
    statistics_of,
)

from ditscope.cache import Address, Reading, open_cache
from ditscope.cache.store_opening import open_store
from ditscope.errors import CacheError, InputError
from ditscope.vocabulary import STATISTIC_ARRAYS

LEAN = {"trajectory": None, "image_height": None, "image_width": None}


def test_readings_in_any_order_come_back_at_their_addresses(tmp_path):
    """Rows in another order than the samples, addresses in another order than a run visits them."""
    schema = make_schema(shard_bytes=9_000, **LEAN)
    every = [address for stream in schema.stream_names for address in addresses(schema, stream)]
    path = tmp_path / "a.zarr"
    with open_writer(path, schema) as writer:
        for branch in schema.branches:
            writer.put_token_masks([0, 1], "text", branch, np.ones((2, TEXT_TOKENS), dtype=bool))
        for number in np.random.default_rng(0).permutation(len(every)):
            samples = np.array([1, 0])[:: (-1) ** number]
            hidden = np.stack([hidden_value(schema, int(sample), every[number]) for sample in samples])
            writer.put(Reading(every[number], samples, hidden, np.stack(list(map(statistics_of, hidden)))))
        for sample in range(2):
            writer.commit(sample)
    cache = open_cache(path)
    for stream in schema.stream_names:
        hidden, stats = cache.hidden(stream).load(), cache.stats(stream).load()
        for sample in range(2):
            for address in addresses(schema, stream):
                expected = hidden_value(schema, sample, address)
                stored = hidden.sel(sample=sample, **at(address)).values
                np.testing.assert_array_equal(bits(stored[: len(expected)]), bits(expected))
                for name, values in zip(STATISTIC_ARRAYS, statistics_of(expected), strict=False):
                    found = stats[name].sel(sample=sample, **at(address)).values
                    np.testing.assert_array_equal(found, values[0] if name == "count" else values)


def test_labels_of_numpy_are_the_same_address(writer):
    address = Address("image", "block_output", np.int64(3), np.str_("uncond"), np.int32(4))
    same = Address("image", "block_output", 3, "uncond", 4)
    assert address == same
    assert {address: 1}[same] == 1
    put(writer, 0, address, hidden_value(writer.schema, 0, same))
    with pytest.raises(CacheError, match="step 3, branch uncond, block 4"):
        put(writer, 0, same, hidden_value(writer.schema, 0, same))


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "1"},
        {"step": None},
        {"step": -1},
        {"block": 0.5},
        {"branch": 0},
        {"site": None},
        {"stream": 0},
    ],
)
def test_labels_of_another_type_are_refused_and_nothing_is_kept(writer, changes):
    right = Address("image", "block_output", 1, "cond", 0)
    value = hidden_value(writer.schema, 0, right)
    (label,) = changes
    with pytest.raises(InputError, match=label):
        put(writer, 0, dataclasses.replace(right, **changes), value)
    put(writer, 0, right, value)


@pytest.mark.parametrize("samples", [[], [0, 1]])
def test_statistics_of_more_or_fewer_rows_than_samples_are_refused_and_nothing_is_kept(writer, samples):
    address = Address("image", "block_output", 1, "cond", 0)
    statistics = statistics_of(hidden_value(writer.schema, 0, address))[None]
    with pytest.raises(InputError, match=r"of shape \(1, "):
        writer.put(Reading(address, samples, statistics=statistics))
    writer.put(Reading(address, [0], statistics=statistics))


def test_a_reading_that_is_refused_in_part_keeps_nothing(writer):
    address = Address("image", "block_output", 1, "cond", 0)
    hidden = hidden_value(writer.schema, 0, address)[None]
    statistics = statistics_of(hidden[0])[None]
    with pytest.raises(InputError, match="of shape"):
        writer.put(Reading(address, [0], hidden=hidden, statistics=statistics[..., 1:]))
    with pytest.raises(InputError, match="sample 7"):
        writer.put(Reading(address, [0, 7], hidden=hidden.repeat(2, axis=0)))
    writer.put(Reading(address, [0], hidden=hidden, statistics=statistics))


@pytest.mark.parametrize("shard_bytes", [1, 9_000, 10**6])
def test_several_blocks_are_put_together_as_they_are_one_by_one(tmp_path, shard_bytes):
    """Whatever files and chunks they fall into, in any order, one with NaN and one with its largest value."""
    schema = make_schema(shard_bytes=shard_bytes, **LEAN)
    alone, together = tmp_path / "alone", tmp_path / "together"
    with open_writer(alone, schema) as writer:
        for sample in range(2):
            fill(writer, sample, with_odd)
            writer.commit(sample)
    with open_writer(together, schema) as writer:
        for branch in schema.branches:
            writer.put_token_masks([0, 1], "text", branch, np.ones((2, TEXT_TOKENS), dtype=bool))
        for stream in schema.stream_names:
            first = [each for each in addresses(schema, stream) if each.block == schema.blocks[0].index]
            blocks = schema.site(stream, "block_output").blocks
            for address, chosen in itertools.product(first, ((blocks[1],), (blocks[2], blocks[0]))):
                address = dataclasses.replace(address, block=chosen)
                one = [dataclasses.replace(address, block=block) for block in address.blocks]
                hidden = np.stack([[with_odd(schema, sample, each) for sample in (1, 0)] for each in one])
                statistics = np.stack([[statistics_of(row) for row in rows] for rows in hidden])
                writer.put(Reading(address, [1, 0], hidden, statistics))
        for sample in range(2):
            writer.commit(sample)
    assert data_of(together) == data_of(alone)
    entries = [open_store(path).ledger().entries for path in (alone, together)]
    for sample in range(2):
        own, other = (ledger[sample] for ledger in entries)
        assert own.nonfinite == other.nonfinite != {}
        assert own.saturated == other.saturated
        assert {block for by_block in own.saturated.values() for block in by_block} == {blocks[2]}


def with_odd(schema, sample, address):
    value = hidden_value(schema, sample, address).copy()
    odd = {schema.blocks[1].index: np.nan, schema.blocks[2].index: ml_dtypes.finfo(value.dtype).max}
    value[0, sample] = odd.get(address.block, value[0, sample])
    return value


def data_of(path):
    return {
        file.relative_to(path): file.read_bytes()
        for file in path.rglob("c.*")
        if file.parent.name in ("hidden", "over_tokens")
    }


def test_a_second_value_among_several_is_refused_by_its_own_block(writer):
    site = writer.schema.site("image", "block_output")
    address = Address("image", "block_output", 1, "cond", site.blocks[1])
    put(writer, 0, address, hidden_value(writer.schema, 0, address))
    every = dataclasses.replace(address, block=site.blocks)
    one = [dataclasses.replace(address, block=block) for block in site.blocks]
    hidden = np.stack([hidden_value(writer.schema, 0, each)[None] for each in one])
    with pytest.raises(CacheError, match=f"step 1, branch cond, block {site.blocks[1]};"):
        writer.put(Reading(every, [0], hidden))
    with pytest.raises(InputError, match=r"\(2, 1, .* for .*\[block, row, token, channel\]"):
        writer.put(Reading(every, [0], hidden[:2]))
