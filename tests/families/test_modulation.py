"""Modulation of every family, compared with what plain hooks on diffusers' own modules see, and recorded."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import torch
import xarray as xr
from family_calls import (
    IN_BOTH_WAYS,
    N_STEPS,
    NAMES,
    PROMPTS,
    SEEDS,
    batch,
    branches,
    call,
    returned,
    size,
    streams,
)
from plain_modules import sites_of

import ditscope as ds
from ditscope.errors import InputError, UnsupportedError

SEED = SEEDS[0]


@IN_BOTH_WAYS
@pytest.mark.parametrize("name", NAMES)
def test_modulation_is_read_as_the_blocks_apply_it(opened, plainly, read, name, dtype, square) -> None:
    """Every row of every visit."""
    dit, (seen, inside) = opened(name, dtype), plainly(name, dtype, square)
    traced = read(name, dtype, square)
    blocks = dit.blocks[: returned(name, len(dit.blocks)).stop]
    visits = range(len(seen.text_tokens))
    for visit, block, stream in [(v, b, s) for v in visits for b in blocks for s in streams(name)]:
        for site in sites_of(name, block.kind):
            expected = inside.part(visit, block.index, block.kind, site, stream, dit.width)
            values = traced[visit, block.index, site, stream]
            assert values[:, 0].equal(expected), (visit, block.name, site, stream)


@pytest.mark.parametrize("name", ["flux", "sd3", "lumina2"])
def test_what_is_recorded_inside_the_blocks_is_what_a_trace_reads(opened, read, tmp_path, name) -> None:
    """Two visits a step, one of a doubled batch, and text whose padding is taken out."""
    dit, traced = opened(name), read(name)
    kind = dit.blocks[0].kind
    blocks = [block for block in returned(name, len(dit.blocks)) if dit.blocks[block].kind == kind]
    sites = (*sites_of(name, kind), "attn_output", "mlp_output")
    path = tmp_path / "a.zarr"
    with ds.record(
        dit, path, streams=streams(name), sites=sites[::-1], blocks=blocks, stats=False, batch_size=2
    ) as rec:
        cache = rec.generate(batch(name), SEED, **call(name))
    for stream, site in [(stream, site) for stream in streams(name) for site in sites]:
        hidden = cache.hidden(stream, site).load()
        assert hidden.dtype == np.float32
        assert ("token" in hidden.dims) == (site in ("attn_output", "mlp_output"))
        for step, branch, block in [
            (s, b, k) for s in range(N_STEPS) for b in branches(name) for k in blocks
        ]:
            visit, rows = plain_hooks.branch_rows(name, True, step, branch, images=2)
            expected = traced[visit, block, site, stream][rows]
            values = hidden.sel(step=step, branch=branch, block=block).values
            if "token" not in hidden.dims:
                expected = expected[:, 0]
            elif stream == "text":  # a branch with a shorter text is filled up
                assert np.isnan(values[:, expected.shape[1] :]).all()
                values = values[:, : expected.shape[1]]
            assert np.array_equal(values, expected.numpy()), (stream, site, step, branch, block)


@pytest.fixture(scope="session")
def cache(opened, tmp_path_factory) -> ds.cache.Cache:
    """Hidden states and modulation of two samples of SD3, in one store."""
    path = tmp_path_factory.mktemp("modulation") / "a.zarr"
    with ds.record(opened("sd3"), path, sites=["block_output", "attn_gate", "mlp_scale"]) as rec:
        return rec.generate(PROMPTS, SEED, num_inference_steps=2, **size("sd3"))


def test_modulation_lies_beside_hidden_states_and_its_statistics_are_its_values(cache) -> None:
    gate, stats = cache.hidden("image", "attn_gate"), cache.stats("image", "attn_gate")
    assert {"image/attn_gate/values", "image/block_output/hidden"} <= set(cache.plans)
    assert "image/attn_gate/statistics/over_tokens" not in cache.plans
    xr.testing.assert_equal(stats["mean"].drop_attrs(), gate.rename("mean").drop_attrs())
    assert np.array_equal(stats["mean_abs"], np.abs(gate))
    assert np.array_equal(stats["abs_max"], np.abs(gate))
    assert (stats["std"] == 0).all()
    assert (stats["count"] == 1).all()
    assert (stats["nonfinite"] == 0).all()
    assert {name: array.dtype for name, array in stats.items()} == {
        name: array.dtype for name, array in cache.stats().items()
    }
    assert stats["count"].dims == cache.stats()["count"].dims
    assert "attn_gate" in repr(cache)
    assert ds.cache.verify(cache).ok


def test_plain_xarray_opens_modulation_with_its_labels(cache) -> None:
    tree = xr.open_datatree(cache.path, engine="zarr", consolidated=False)
    gate = tree["image/attn_gate"]["values"]
    assert gate.dims == ("sample", "step", "branch", "block", "channel")
    assert np.array_equal(gate.values, cache.hidden("image", "attn_gate").values)
    assert list(gate["block_name"].values) == ["joint.0", "joint.1", "joint.2"]


def test_channels_are_ranked_by_their_modulation_and_masks_want_tokens(cache) -> None:
    ranking = ds.passes.rank_channels(cache, site="attn_gate", statistic="mean_abs")
    gate = np.abs(cache.hidden("image", "attn_gate").sel(block=1).astype("float64"))
    expected = np.argsort(-gate.mean(["sample", "step", "branch"]).values, kind="stable")[:4]
    assert list(ranking.top(4)[1]) == list(expected)
    with pytest.raises(InputError, match="attn_gate with one value a channel"):
        ds.passes.spatial_masks(cache, ranking.top(4), blocks=1, site="attn_gate")


def test_a_forecast_counts_modulation_to_the_byte(opened, tmp_path) -> None:
    with ds.record(opened("sd3"), tmp_path / "a.zarr", sites=["attn_gate"], tensors=False) as rec:
        promised = rec.forecast(PROMPTS, SEED, num_inference_steps=2, **size("sd3"))
        cache = rec.generate(PROMPTS, SEED, num_inference_steps=2, **size("sd3"))
    assert promised.modulation > 0
    assert promised.total == cache.nbytes


def test_channels_and_single_branches_of_modulation(opened, tmp_path) -> None:
    dit, call = opened("flux2-klein-base"), {"num_inference_steps": 2, **size("flux"), "guidance_scale": 3.0}
    places = {"sites": ["attn_scale"], "streams": ["text", "image"]}
    with ds.record(dit, tmp_path / "whole.zarr", **places) as rec:
        whole = rec.generate(PROMPTS[0], SEED, **call)
    with ds.record(
        dit, tmp_path / "part.zarr", channels=[2, 30], branches=["uncond"], steps=[-1], **places
    ) as rec:
        part = rec.generate(PROMPTS[0], SEED, **call)
    for stream in ("image", "text"):
        expected = whole.hidden(stream, "attn_scale").sel(channel=[2, 30], branch=["uncond"], step=[1])
        assert np.array_equal(part.hidden(stream, "attn_scale").values, expected.values)
        picked = part.hidden(stream, "attn_scale", channels=[30])
        assert np.array_equal(picked.values, expected.sel(channel=[30]).values)


def test_a_site_that_a_block_lacks_is_refused(opened, tmp_path) -> None:
    dit = opened("flux")
    with pytest.raises(UnsupportedError, match="site 'mlp_gate' asked of a single block"):
        ds.record(dit, tmp_path / "a.zarr", sites=["mlp_gate"], blocks=[0, "single"])
    with pytest.raises(UnsupportedError, match="site 'mlp_gate' asked of a single block"):
        ds.edits.zero([1], site="mlp_gate", blocks="single").check(dit, range(N_STEPS))
    with pytest.raises(InputError, match="site to write 'middle'"):
        dit.blocks[0].write("middle", "image", torch.zeros(1))
    with pytest.raises(InputError, match="site 'middle'"):
        dit.blocks[0].read("middle", "image")
    assert not (tmp_path / "a.zarr").exists()
