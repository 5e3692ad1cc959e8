"""Modulation recorded from every family, held against what plain hooks on diffusers' own modules see."""

from __future__ import annotations

import functools

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
import xarray as xr
from diffusers import DiffusionPipeline
from test_families import NAMES, PROMPTS, batch, branches, guided, returned, size, streams

import ditscope as ds
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.taps import MODULATION

SHIFT_SCALE_GATE = ("attn_shift", "attn_scale", "attn_gate")
SEED = 3


def sources(name: str, transformer, block) -> dict[str, object]:
    """Stream -> the module whose output is the modulation, by diffusers' code."""
    if name.startswith("flux2"):
        if block in list(transformer.single_transformer_blocks):
            return dict.fromkeys(("image", "text"), transformer.single_stream_modulation)
        return {
            "image": transformer.double_stream_modulation_img,
            "text": transformer.double_stream_modulation_txt,
        }
    if name in ("cogview4", "lumina2"):
        return dict.fromkeys(("image", "text"), block.norm1.linear)
    if not hasattr(block, "norm1_context") and name == "auraflow":
        return dict.fromkeys(("image", "text"), block.norm1.linear)
    if name == "qwen-image":
        return {"image": block.img_mod, "text": block.txt_mod}
    if hasattr(block, "norm"):  # FLUX.1's single blocks
        return dict.fromkeys(("image", "text"), block.norm.linear)
    return {"image": block.norm1.linear, "text": block.norm1_context.linear}


def sites_of(name: str, kind: str) -> tuple[str, ...]:
    """FLUX's single blocks add attention and MLP as one; Lumina2 shifts nothing."""
    if name == "lumina2":
        return "attn_scale", "attn_gate", "mlp_scale", "mlp_gate"
    return SHIFT_SCALE_GATE if kind == "single" and name != "auraflow" else MODULATION


def part_of(name: str, kind: str, stream: str, number: int) -> int:
    """Which part of the source a site is, by diffusers' code."""
    if name == "cogview4":  # image and text take turns
        return 2 * number + (stream == "text")
    if name == "chroma" and kind == "double":  # all of the image, then all of the text
        return number + len(MODULATION) * (stream == "text")
    return number


def reference(folder, name: str, dtype: torch.dtype, call: dict) -> dict[tuple[int, int, str], torch.Tensor]:
    """(visit, block, stream) -> modulation ``[row, channels of all parts]``."""
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    visits, found, latest = [], {}, {}
    blocks = plain_hooks.blocks_of(pipeline)

    def keep_table(number: int, module, args, kwargs) -> None:
        table, embedded = module.scale_shift_table, kwargs.get("timestep", args[4] if len(args) > 4 else None)
        found[len(visits) - 1, number, "image"] = (
            table[None] + embedded.reshape(len(embedded), 6, -1)
        ).flatten(1)

    def keep_argument(number: int, module, args, kwargs) -> None:
        for stream in ("image", "text"):
            found[len(visits) - 1, number, stream] = kwargs["temb"].flatten(1)

    def keep_output(source, module, args, output) -> None:
        latest[source] = output.flatten(1)

    def collect(number: int, module, args, output) -> None:
        for stream, source in sources(name, pipeline.transformer, module).items():
            found[len(visits) - 1, number, stream] = latest[source]

    pipeline.transformer.register_forward_pre_hook(lambda module, args: visits.append(1))
    for number, block in enumerate(blocks):
        if name in plain_hooks.IMAGE_ONLY:
            block.register_forward_pre_hook(functools.partial(keep_table, number), with_kwargs=True)
            continue
        if name == "chroma":
            block.register_forward_pre_hook(functools.partial(keep_argument, number), with_kwargs=True)
            continue
        for source in set(sources(name, pipeline.transformer, block).values()):
            source.register_forward_hook(functools.partial(keep_output, source))
        block.register_forward_hook(functools.partial(collect, number))
    generators = [torch.Generator().manual_seed(SEED) for _ in batch(name)]
    call = {**tiny.TINY[name].call, **call}
    if isinstance(call.get("negative_prompt"), str):
        call["negative_prompt"] = [call["negative_prompt"]] * len(PROMPTS)
    pipeline(prompt=batch(name), generator=generators, output_type="latent", **call)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_modulation_is_recorded_as_the_blocks_apply_it(opened, folder_of, tmp_path, name, dtype) -> None:
    dit = opened(name, dtype)
    call = {"num_inference_steps": 2, **size(name), **guided(name)}
    expected = reference(folder_of(name), name, dtype, call)
    kept = dit.blocks[: returned(name, len(dit.blocks)).stop]
    compared = 0
    for kind in dict.fromkeys(block.kind for block in kept):
        blocks = [block.index for block in kept if block.kind == kind]
        sites = sites_of(name, kind)
        path = tmp_path / f"{kind}.zarr"
        with ds.record(
            dit, path, streams=streams(name), sites=sites[::-1], blocks=blocks, tensors=False, batch_size=2
        ) as rec:
            cache = rec.generate(batch(name), SEED, **call)
        for stream in streams(name):
            for number, site in enumerate(sites):
                part = part_of(name, kind, stream, number)
                found = cache.hidden(stream, site)
                assert found.dims == ("sample", "step", "branch", "block", "channel")
                assert found.dtype == np.float32
                for step, branch, block in np.ndindex(2, len(branches(name)), len(blocks)):
                    label = branches(name)[branch]
                    visit, rows = plain_hooks.branch_rows(
                        name, len(branches(name)) > 1, step, label, images=2
                    )
                    whole = expected[visit, blocks[block], stream][rows]
                    own = whole[:, part * dit.width : (part + 1) * dit.width]
                    if name == "lumina2" and site.endswith("gate"):
                        own = own.tanh()
                    values = found.sel(step=step, branch=label, block=blocks[block]).values
                    assert np.array_equal(values, own.float().numpy()), (stream, site, step, label, block)
                    compared += 1
    assert compared >= 2 * len(branches(name)) * len(streams(name)) * len(kept) * 3


@pytest.fixture
def cache(opened, tmp_path) -> ds.cache.Cache:
    """Hidden states and modulation of two samples of SD3, in one store."""
    with ds.record(
        opened("sd3"), tmp_path / "a.zarr", sites=["block_output", "attn_gate", "mlp_scale"]
    ) as rec:
        return rec.generate(PROMPTS, SEED, num_inference_steps=2, **size("sd3"))


def test_modulation_lies_beside_hidden_states_and_its_statistics_are_its_values(cache) -> None:
    gate, stats = cache.hidden("image", "attn_gate"), cache.stats("image", "attn_gate")
    assert {"image/attn_gate", "image/block_output"} <= set(cache.plans)
    assert not any("stats/attn_gate" in path for path in cache.plans)
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
    tree = xr.open_datatree(cache.path, engine="zarr")
    gate = tree["image"]["attn_gate"]
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
        promised = rec.forecast(PROMPTS, SEED, num_inference_steps=2, **size("sd3")).size
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


def test_modulation_is_not_edited_and_a_site_that_a_block_lacks_is_refused(opened, tmp_path) -> None:
    dit = opened("flux")
    with pytest.raises(UnsupportedError, match="site 'mlp_gate' asked of a single block"):
        ds.record(dit, tmp_path / "a.zarr", sites=["mlp_gate"])
    with pytest.raises(InputError, match="site 'attn_gate'"):
        ds.edits.zero([1], site="attn_gate")
    with pytest.raises(InputError, match="site to write 'attn_gate'"):
        dit.blocks[0].write("attn_gate", "image", torch.zeros(1))
    with pytest.raises(InputError, match="site 'middle'"):
        dit.blocks[0].read("middle", "image")
    assert not (tmp_path / "a.zarr").exists()
