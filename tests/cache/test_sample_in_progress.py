import numpy as np
import pytest
from store_recording import addresses, bits, fill, hidden_value, make_schema, open_writer, put, record

from ditscope.cache import Reading, open_cache
from ditscope.errors import CacheError


@pytest.fixture
def small_shards(tmp_path):
    """A writer of a store with a file for every value."""
    with open_writer(tmp_path / "b.zarr", make_schema(shard_bytes=1)) as writer:
        yield writer


@pytest.mark.parametrize("which", ["writer", "small_shards"])
def test_a_value_is_put_once(request, which):
    writer = request.getfixturevalue(which)
    address = addresses(writer.schema)[5]
    put(writer, 0, address, hidden_value(writer.schema, 0, address))
    with pytest.raises(
        CacheError, match="image/block_output/hidden at sample 0, step 1, branch uncond, block 4"
    ):
        put(writer, 0, address, hidden_value(writer.schema, 0, address))


@pytest.mark.parametrize("which", ["writer", "small_shards"])
@pytest.mark.parametrize("missing", [8, -1])
def test_commit_of_an_incomplete_sample_names_the_first_missing_value(request, which, missing):
    writer = request.getfixturevalue(which)
    wanted = addresses(writer.schema)[missing]
    for address in addresses(writer.schema):
        if address != wanted:
            put(writer, 0, address, hidden_value(writer.schema, 0, address))
    where = f"step {wanted.step}, branch {wanted.branch}, block {wanted.block}"
    with pytest.raises(CacheError, match=f"no value for image/block_output/hidden at sample 0, {where}"):
        writer.commit(0)
    assert writer.committed == set()


def test_hidden_states_alone_do_not_make_a_sample_complete(writer):
    for address in addresses(writer.schema):
        writer.put(Reading(address, [0], hidden=hidden_value(writer.schema, 0, address)[None]))
    with pytest.raises(
        CacheError, match="no value for image/block_output/statistics/over_tokens at sample 0, step 1"
    ):
        writer.commit(0)


def test_a_missing_image_is_noticed(writer, monkeypatch):
    monkeypatch.setattr(writer, "put_image", lambda *_: None)
    fill(writer, 0)
    with pytest.raises(CacheError, match="images at sample 0"):
        writer.commit(0)


def test_a_discarded_sample_can_be_put_again(tmp_path):
    schema = make_schema(shard_bytes=9_000)
    with open_writer(tmp_path / "a.zarr", schema) as writer:
        for address in addresses(schema)[:5]:
            put(writer, 0, address, np.zeros_like(hidden_value(schema, 0, address)))
        writer.discard(0)
        assert not list((tmp_path / "a.zarr").rglob("c.0.0*.0"))
        fill(writer, 0)
        writer.commit(0)
    reference = record(tmp_path / "b.zarr", schema, samples=[0])
    hidden = [open_cache(path).hidden().values for path in (tmp_path / "a.zarr", reference)]
    np.testing.assert_array_equal(bits(hidden[0]), bits(hidden[1]))
