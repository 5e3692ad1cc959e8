import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from store_recording import (
    addresses,
    at,
    bits,
    fill,
    hidden_value,
    make_schema,
    open_writer,
    record,
    statistics_of,
)

from ditscope.cache import (
    Address,
    StoredSite,
    open_cache,
    reader,
)
from ditscope.errors import CacheError, InputError
from ditscope.vocabulary import RECORDED_STATISTICS, STATISTIC_ARRAYS


def test_dims_labels_and_attributes(store):
    hidden = open_cache(store).hidden("image", "block_output")
    assert hidden.dims == ("sample", "step", "branch", "block", "token", "channel")
    assert hidden.name == "block_output"
    assert hidden.chunks is not None
    assert hidden.attrs == {
        "stream": "image",
        "site": "block_output",
        "dtype": "bfloat16",
        "grid_height": 3,
        "grid_width": 4,
    }
    expected = {
        "sample": [0, 1],
        "prompt": ["a red circle", "ein grünes Dreieck"],
        "seed": [0, 7],
        "done": [True, True],
        "step": [1, 3],
        "sigma": [0.75, 0.25],
        "timestep": [750.0, 250.0],
        "branch": ["cond", "uncond"],
        "block": [0, 1, 4],
        "block_name": ["double.0", "double.1", "double.4"],
        "block_kind": ["double"] * 3,
        "token": list(range(12)),
        "y": [0] * 4 + [1] * 4 + [2] * 4,
        "x": [0, 1, 2, 3] * 3,
        "channel": list(range(3, 73)),
    }
    assert {name: hidden[name].values.tolist() for name in hidden.coords} == expected


def test_selection_by_label_gives_what_was_put(store):
    schema = make_schema()
    hidden = open_cache(store).hidden()
    address = Address("image", "block_output", 3, "uncond", 4)
    chosen = hidden.sel(sample=1, **at(address))
    np.testing.assert_array_equal(bits(chosen.values), bits(hidden_value(schema, 1, address)))
    np.testing.assert_array_equal(bits(chosen.sel(channel=[5, 72])), bits(chosen.values[:, [2, 69]]))
    np.testing.assert_array_equal(bits(chosen[::-2, 3:50:7]), bits(chosen.values[::-2, 3:50:7]))


def test_channels_up_front_equal_channels_selected(store):
    cache = open_cache(store)
    few = cache.hidden(channels=[40, 3, 41])
    assert few.channel.values.tolist() == [40, 3, 41]
    np.testing.assert_array_equal(bits(few.values), bits(cache.hidden().sel(channel=[40, 3, 41]).values))
    with pytest.raises(InputError, match="channel 2"):
        cache.hidden(channels=[2])
    for wrong in ("abc", [], [[3]], [3.5]):
        with pytest.raises(InputError, match="channels=.*one or more whole numbers"):
            cache.hidden(channels=wrong)
    assert cache.hidden(channels=3).sizes["channel"] == 1
    for wrong in (
        {"stream": ["image"]},
        {"site": ["block_output"]},
        {"dtype": ["float32"]},
        {"dtype": "int8"},
    ):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}.*expected one of"):
            cache.hidden(**wrong)


def test_the_last_lazy_arrays_are_kept_and_no_more(store):
    cache = open_cache(store)
    assert cache.hidden(channels=[3, 7]).equals(cache.hidden(channels=(3, 7)))
    assert len(cache._kept_hidden) == 1
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda channel: cache.hidden(channels=[channel]), list(range(3, 73)) * 5))
    cache.hidden()
    assert len(cache._kept_hidden) == reader._MOST_KEPT
    assert [each["channel"].item() for each in kept[:70]] == list(range(3, 73))
    other = pickle.loads(pickle.dumps(cache))
    assert other.hidden(channels=[7]).equals(cache.hidden(channels=[7]))


def test_labels_that_a_caller_changes_are_his_own(store):
    cache = open_cache(store)
    first = cache.hidden(channels=[7, 3])
    first["prompt"].values[:] = "other"
    first["sigma"].values[:] = 0
    for again in (cache.hidden(channels=[7, 3]), cache.hidden()):
        assert "other" not in again["prompt"].values
        assert again["sigma"].values.all()
        assert again.indexes["channel"].equals(again["channel"].to_index())


def test_statistics(store):
    schema = make_schema()
    stats = open_cache(store).stats("text", "block_output")
    assert stats["mean"].dims == ("sample", "step", "branch", "block", "channel")
    assert stats["count"].dims == ("sample", "step", "branch", "block")
    assert stats.attrs == {"stream": "text", "site": "block_output", "dtype": "bfloat16"}
    for address in addresses(schema, "text"):
        expected = statistics_of(hidden_value(schema, 1, address))
        for name, value in zip(STATISTIC_ARRAYS, expected, strict=False):
            stored = stats[name].sel(sample=1, **at(address)).values
            assert stored.dtype == (np.int32 if name in ("nonfinite", "count") else np.float32)
            np.testing.assert_array_equal(stored, value[0] if name == "count" else value)


def test_text_stream_has_a_mask_of_real_tokens(store):
    hidden = open_cache(store).hidden("text")
    assert hidden.token_mask.dims == ("sample", "branch", "token")
    assert hidden.token_mask.values[1, 1].tolist() == [True] * 4 + [False]
    assert np.isnan(hidden.values[..., 4, :].astype("f4")).all()
    assert "y" not in hidden.coords


def test_images_trajectory_and_samples(store):
    cache = open_cache(store)
    assert cache.images.dims == ("sample", "y_pixel", "x_pixel", "rgb")
    assert cache.images.dtype == np.uint8
    trajectory = cache.trajectory
    assert trajectory["latents"].sizes == {"sample": 2, "step_boundary": 5, "token": 12, "latent_channel": 6}
    assert trajectory["latents"].dtype == np.float32
    assert trajectory["transformer_output"].dims == ("sample", "step", "branch", "token", "latent_channel")
    assert trajectory.step.values.tolist() == [0, 1, 2, 3]
    rng = np.random.default_rng(1)
    latents, outputs = rng.normal(size=(5, 12, 6)), rng.normal(size=(4, 2, 12, 6))
    np.testing.assert_array_equal(trajectory["latents"].values[1], latents.astype("f4"))
    stored = trajectory["transformer_output"].values[1]
    np.testing.assert_array_equal(bits(stored), bits(outputs.astype(stored.dtype)))
    image = rng.integers(0, 256, size=(8, 6, 3))
    np.testing.assert_array_equal(cache.images.values[1], image)
    assert cache.samples.to_dict("list") == {
        "prompt": ["a red circle", "ein grünes Dreieck"],
        "seed": [0, 7],
        "done": [True, True],
        "live": [None, None],
    }


def test_uncommitted_samples_are_left_out_unless_asked_for(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[1]))
    assert cache.hidden().sample.values.tolist() == [1]
    assert cache.stats().sizes["sample"] == cache.images.sizes["sample"] == 1
    assert cache.trajectory.sizes["sample"] == 1
    whole = cache.hidden(committed_only=False)
    assert whole.done.values.tolist() == [False, True]
    assert np.isnan(whole.values[0].astype("f4")).all()
    np.testing.assert_array_equal(bits(whole.values[1]), bits(cache.hidden().values[0]))
    assert cache.stats(committed_only=False).sizes["sample"] == 2


def test_empty_store_opens(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[]))
    assert cache.hidden().sizes["sample"] == cache.hidden("text").sizes["sample"] == 0
    assert cache.hidden().values.shape == (0, 2, 2, 3, 12, 70)
    assert cache.nbytes == 0
    assert "0 of 2 committed" in repr(cache)


def test_unknown_names_are_refused(store):
    cache = open_cache(store)
    for open_it in (cache.hidden, cache.stats):
        with pytest.raises(InputError, match=r"stream 'audio'; expected one of 'image', 'text'"):
            open_it("audio")
        with pytest.raises(InputError, match="site 'attn_output'; expected one of 'block_output'"):
            open_it("image", "attn_output")


def test_what_was_not_kept_is_refused(tmp_path):
    lean = make_schema(tensors=False, trajectory=None, image_height=None, image_width=None)
    cache = open_cache(record(tmp_path / "a.zarr", lean))
    with pytest.raises(CacheError, match="statistics only"):
        cache.hidden()
    with pytest.raises(CacheError, match="without images"):
        cache.images  # noqa: B018
    with pytest.raises(CacheError, match="without trajectory"):
        cache.trajectory  # noqa: B018
    with pytest.raises(CacheError, match="without statistics"):
        open_cache(record(tmp_path / "b.zarr", make_schema(stats=False))).stats()


def test_statistics_of_a_channel_without_a_finite_value_are_nan(tmp_path):
    """Of modulation, whose value is its own statistic, as of hidden states."""
    schema = make_schema(sites=("attn_gate",), trajectory=None, image_height=None, image_width=None)

    def with_nan(schema, sample, address):
        value = hidden_value(schema, sample, address)
        value[[3, 4]] = np.nan, -np.inf
        return value

    with open_writer(tmp_path / "a.zarr", schema) as writer:
        fill(writer, 0, with_nan)
        writer.commit(0)
    cache = open_cache(tmp_path / "a.zarr")
    stats = cache.stats("image", "attn_gate", committed_only=False).load()
    committed = stats.sel(sample=0)
    for name in RECORDED_STATISTICS:
        assert committed[name].isnull().any(["step", "branch", "block"]).values.nonzero()[0].tolist() == [
            3,
            4,
        ]
        assert committed[name].isel(channel=[3, 4]).isnull().all()
        assert stats[name].sel(sample=1).isnull().all()
    assert (committed["nonfinite"].sum("channel") == 2).all()
    assert (committed["count"] == 1).all()
    assert not stats["count"].sel(sample=1).any()
    np.testing.assert_array_equal(committed["mean_abs"], abs(committed["mean"]))
    assert cache.nonfinite["count"].tolist() == [24, 24]


def test_a_site_has_the_blocks_that_it_was_recorded_of(tmp_path):
    some = StoredSite.of("image", "attn_output", (0, 4), "bfloat16")
    schema = make_schema(("block_output", some), streams=make_schema().streams[:1])
    cache = open_cache(record(tmp_path / "a.zarr", schema))
    few = cache.hidden("image", "attn_output")
    assert few.block.values.tolist() == cache.stats("image", "attn_output").block.values.tolist() == [0, 4]
    assert few.block_name.values.tolist() == ["double.0", "double.4"]
    address = Address("image", "attn_output", 3, "uncond", 4)
    stored = few.sel(sample=1, **at(address)).values
    np.testing.assert_array_equal(bits(stored), bits(hidden_value(schema, 1, address)))
    assert cache.hidden().block.values.tolist() == [0, 1, 4]
    # Both sites together, by label.
    assert (few + cache.hidden()).block.values.tolist() == [0, 4]


def test_equal_selections_have_equal_dask_names_until_a_sample_is_recorded_anew(store):
    one, other = (open_cache(store) for _ in range(2))
    assert one.hidden().data.name == other.hidden().data.name
    assert one.hidden(channels=[3]).data.name != one.hidden().data.name
    assert one.hidden("text").data.name != one.hidden().data.name
    assert len({one.stats()[name].data.name for name in STATISTIC_ARRAYS}) == len(STATISTIC_ARRAYS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hidden_states_in_a_dtype_that_numpy_computes_in(store, dtype):
    cache = open_cache(store)
    hidden = cache.hidden(dtype=dtype)
    assert (hidden.dtype, hidden.attrs["dtype"]) == (dtype, "bfloat16")
    assert hidden.chunks == cache.hidden().chunks  # nothing is read yet
    assert np.array_equal(hidden.values, cache.hidden().values.astype(dtype))
    assert np.isfinite(hidden.mean("token").values).all()
    with pytest.raises(InputError, match="dtype 'float16'"):
        cache.hidden(dtype="float16")


def test_torch_gets_the_stored_bits_at_the_labels_asked_for(store):
    cache = open_cache(store)
    whole = cache.torch("text")
    assert (whole.dtype, tuple(whole.shape)) == (torch.bfloat16, cache.hidden("text").shape)
    part = cache.torch(samples=[1], steps=-1, branches="uncond", blocks=["double.4", 0], channels=[70, 3])
    expected = cache.hidden(channels=[70, 3]).sel(sample=[1], step=[3], branch=["uncond"], block=[0, 4])
    assert np.array_equal(part.view(torch.uint16).numpy(), expected.values.view(np.uint16))
    for wrong in ({"samples": 5}, {"steps": 2}, {"blocks": 2}, {"branches": "other"}, {"channels": [1]}):
        with pytest.raises(InputError):
            cache.torch(**wrong)


def test_a_statistic_at_an_address_is_the_recorded_one(store):
    cache = open_cache(store)
    for address in addresses(cache.schema)[::3]:
        place = at(address)
        for name in RECORDED_STATISTICS:
            found = cache.statistic_at("image", "block_output", name, samples=[1, 0], **place)
            expected = cache.stats()[name].sel(place).sel(sample=[1, 0]).values
            assert found.tobytes() == expected.tobytes()
    with pytest.raises(InputError, match="statistic 'median'"):
        cache.statistic_at("image", "block_output", "median", samples=[0], **place)
    with pytest.raises(InputError, match="block 2"):
        cache.statistic_at("image", "block_output", "mean", samples=[0], **place | {"block": 2})
