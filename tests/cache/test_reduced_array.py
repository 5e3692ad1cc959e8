"""What is made of tokens as they are read equals what is made of the whole array, and no more is read for it."""

import shutil

import dask
import numpy as np
import pytest
import xarray as xr
from store_recording import bits, make_schema, record

from ditscope import passes
from ditscope.cache import StreamSpec, chunk_reading, files, open_cache
from ditscope.errors import CacheError, InputError

HIDDEN = "image/block_output/hidden"
ROWS = 2


@pytest.fixture
def in_pieces(monkeypatch):
    """As large arrays are read: here in pieces of a chunk or two."""
    monkeypatch.setattr(chunk_reading, "_PIECE", 500)


class Extent:
    """The largest and the smallest value, and the shapes of which they were taken."""

    def __init__(self):
        self.shapes = []

    def __call__(self, values):
        self.shapes.append(values.shape)
        wide = values.astype(np.float64)
        return np.stack([wide.max(-2), wide.min(-2)], axis=-2)


def extent_of(hidden):
    """The same of ``hidden()`` read whole."""
    return Extent()(hidden.values)


# Chunks of 32 channels and what is left of 70; several files a sample; chosen tokens; compressed ones.
SCHEMAS = {
    "whole chunks": {"channels": tuple(range(3, 67))},
    "a part of a chunk": {},
    "many files": {"channels": tuple(range(3, 67)), "shard_bytes": 2000},
    "random tokens": {
        "channels": tuple(range(3, 67)),
        "streams": (StreamSpec("image", 12, 3, 4, random_tokens=5), StreamSpec("text", 5)),
    },
    "compressed": {"channels": tuple(range(3, 67)), "compression": "zstd"},
    "float32": {"channels": tuple(range(3, 67)), "dtype": "float32"},
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("large", [True, False])
def test_equals_what_is_made_of_the_whole(name, large, tmp_path, request):
    if large:
        request.getfixturevalue("in_pieces")
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS[name])))
    extent = Extent()
    found = cache.reduced_over_tokens(extent, ROWS)
    whole = extent_of(cache.hidden())
    assert found.shape == whole.shape
    np.testing.assert_array_equal(found.compute(), whole)
    split = large and name not in ("a part of a chunk", "compressed")
    most = max(np.prod(shape) for shape in extent.shapes if np.prod(shape) > 1)
    assert (most < cache.hidden()[0].size / 4) == split


@pytest.mark.parametrize(
    "key",
    [
        (0, 1, 0, 2),
        (slice(None), slice(0, 1), 1, [0, 2], 1),
        (1, slice(None), slice(None), slice(1, None), slice(None), slice(5, 40)),
        (slice(None, None, -1), 0, 0, 0, 0, -1),
    ],
)
def test_selections(key, tmp_path, in_pieces):
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))
    found = cache.reduced_over_tokens(Extent(), ROWS)[key].compute()
    np.testing.assert_array_equal(found, extent_of(cache.hidden())[key])


def test_one_row_or_all_every_file_is_read_once(tmp_path, in_pieces, monkeypatch):
    store, read, honest = (
        record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])),
        [],
        files.read_into,
    )
    cache = open_cache(store)

    def counted(handle, offset, target):
        read.append(len(target))
        return honest(handle, offset, target)

    monkeypatch.setattr(files, "read_into", counted)
    found = cache.reduced_over_tokens(Extent(), ROWS)
    rows = found[..., 0, :] + found[..., 1, :]
    rows.compute()
    chunk, n_chunks = 12 * 32 * 2 + 4, 2 * 2 * 3 * 2
    assert sum(read) == len(cache.committed) * n_chunks * chunk


def test_damage_is_named_and_not_reduced(tmp_path, in_pieces):
    store = record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"]))
    path = next((store / HIDDEN).glob("c.1.*"))
    data = bytearray(path.read_bytes())
    data[900] ^= 1
    path.write_bytes(data)
    found = open_cache(store).reduced_over_tokens(Extent(), ROWS)
    with pytest.raises(CacheError, match="unreadable data at .* sample 1, step 1, branch cond, block 0"):
        found.compute()
    assert np.isfinite(found[0].compute()).all()


def test_names_of_dask_tell_functions_and_recordings_apart(store):
    first, second = open_cache(store), open_cache(store)
    assert first.reduced_over_tokens(extent_of, ROWS).name == second.reduced_over_tokens(extent_of, ROWS).name
    assert first.reduced_over_tokens(extent_of, ROWS).name != second.reduced_over_tokens(bits, ROWS).name
    assert first.reduced_over_tokens(bits, 1).name != first.reduced_over_tokens(bits, 2).name
    other = open_cache(shutil.copytree(store, store.with_name("other.zarr")))
    assert first.reduced_over_tokens(extent_of, ROWS).name != other.reduced_over_tokens(extent_of, ROWS).name


def test_a_function_may_read_other_values(tmp_path, in_pieces):
    """What it was given is in memory that its own reads would fill."""
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))

    def reading(values):
        cache.values_at("image", "block_output", samples=[0], step=1, branch="cond", block=0)
        with dask.config.set(scheduler="synchronous"):
            cache.hidden().isel(sample=1, step=0).compute()
        return Extent()(values)

    found = cache.reduced_over_tokens(reading, ROWS)
    np.testing.assert_array_equal(found.compute(), extent_of(cache.hidden()))


def test_what_is_masked_is_nan(tmp_path, in_pieces):
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))

    def positive_only(values):
        largest = np.ma.masked_less(values.astype(np.float32), 2).max(-2, keepdims=True)
        return np.ma.concatenate([largest, largest], axis=-2)

    found, largest = (
        cache.reduced_over_tokens(positive_only, ROWS).compute(),
        extent_of(cache.hidden())[..., :1, :],
    )
    np.testing.assert_array_equal(found[..., :1, :], np.where(largest < 2, np.nan, largest))
    assert np.isnan(found).any()


@pytest.mark.parametrize("stream", ["image", "text"])
def test_statistics_of_a_store_are_those_of_its_hidden_states(stream, tmp_path, in_pieces):
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))
    found = passes.token_statistics(cache, stream=stream, recorded=False)
    expected = passes.token_statistics(cache.hidden(stream), stream=stream)
    xr.testing.assert_allclose(found.compute(), expected.compute(), rtol=1e-12)
    assert found.coords.keys() == expected.coords.keys()
    assert {name: found[name].attrs for name in found} == {name: expected[name].attrs for name in expected}
    xr.testing.assert_equal(found["abs_max"].sel(block=1, step=3), expected["abs_max"].sel(block=1, step=3))


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize(
    ("reduce", "found"),
    [
        (lambda values: values, r"\[.*, 12, 32\] from the function|\[.*, 12, 64\] from the function"),
        (lambda values: values.max(-2), "from the function, of values"),
        (lambda values: values.max(-2, keepdims=True), r"here \[.*2, (32|64)\]"),  # one row would be repeated
        (lambda values: Extent()(values) * 1j, "complex128"),
    ],
)
def test_a_function_of_something_else_is_told_what_was_expected(reduce, found, large, tmp_path, request):
    if large:
        request.getfixturevalue("in_pieces")
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))
    with pytest.raises(InputError, match=found):
        cache.reduced_over_tokens(reduce, ROWS).compute()


def test_wrong_arguments_are_refused_before_anything_is_read(store):
    cache = open_cache(store)
    for arguments, named in (
        ((None, 1), "reduce=None"),
        ((Extent(), 0), "rows=0"),
        ((Extent(), "2"), "rows='2'"),
    ):
        with pytest.raises(InputError, match=named):
            cache.reduced_over_tokens(*arguments)


def test_a_site_without_tokens_has_nothing_to_reduce(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(("attn_gate", "block_output"))))
    with pytest.raises(InputError, match="'attn_gate' with one value a channel"):
        cache.reduced_over_tokens(Extent(), ROWS, "text", "attn_gate")


def test_a_function_may_not_write_into_what_it_is_given(tmp_path, in_pieces):
    def doubled(values):
        values *= 2
        return extent_of(values)

    cache = open_cache(record(tmp_path / "a.zarr", make_schema(**SCHEMAS["whole chunks"])))
    with pytest.raises(ValueError, match="read-only"):
        cache.reduced_over_tokens(doubled, ROWS).compute()
