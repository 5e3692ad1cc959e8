"""Pipelines that diffusers opened from a single file: opened in memory, they are those of the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import PROMPTS, SEEDS, call
from safetensors.torch import save_file
from tiny import TINY

import ditscope as ds
from ditscope.errors import InputError

SD3_NAMES = {
    "context_embedder": "context_embedder",
    "final_layer.linear": "proj_out",
    **{f"t_embedder.mlp.{n}": f"time_text_embed.timestep_embedder.linear_{n // 2 + 1}" for n in (0, 2)},
    **{f"y_embedder.mlp.{n}": f"time_text_embed.text_embedder.linear_{n // 2 + 1}" for n in (0, 2)},
}
"""The names that modules have in the files of SD3's authors -> diffusers' names."""

SD3_SIDES = {
    "x_block": (("to_q", "to_k", "to_v"), "to_out.0", "norm1", "ff"),
    "context_block": (
        ("add_q_proj", "add_k_proj", "add_v_proj"),
        "to_add_out",
        "norm1_context",
        "ff_context",
    ),
}


def swapped(shift_and_scale: torch.Tensor) -> torch.Tensor:
    return torch.cat(shift_and_scale.chunk(2)[::-1])


def as_its_authors_save_it(transformer: Any) -> dict[str, torch.Tensor]:
    """The weights of SD3's transformer in the layout of its authors."""
    weights, n_blocks = transformer.state_dict(), len(transformer.transformer_blocks)
    made = {"pos_embed": weights["pos_embed.pos_embed"]}
    for kind in ("weight", "bias"):
        made[f"x_embedder.proj.{kind}"] = weights[f"pos_embed.proj.{kind}"]
        made |= {f"{theirs}.{kind}": weights[f"{ours}.{kind}"] for theirs, ours in SD3_NAMES.items()}
        made[f"final_layer.adaLN_modulation.1.{kind}"] = swapped(weights[f"norm_out.linear.{kind}"])
        for number in range(n_blocks):
            for side, (projections, out, norm, mlp) in SD3_SIDES.items():
                theirs, ours = f"joint_blocks.{number}.{side}", f"transformer_blocks.{number}"
                ends = number == n_blocks - 1 and side == "context_block"
                made[f"{theirs}.attn.qkv.{kind}"] = torch.cat(
                    [weights[f"{ours}.attn.{projection}.{kind}"] for projection in projections]
                )
                modulation = weights[f"{ours}.{norm}.linear.{kind}"]
                made[f"{theirs}.adaLN_modulation.1.{kind}"] = swapped(modulation) if ends else modulation
                if not ends:
                    made[f"{theirs}.attn.proj.{kind}"] = weights[f"{ours}.attn.{out}.{kind}"]
                    made[f"{theirs}.mlp.fc1.{kind}"] = weights[f"{ours}.{mlp}.net.0.proj.{kind}"]
                    made[f"{theirs}.mlp.fc2.{kind}"] = weights[f"{ours}.{mlp}.net.2.{kind}"]
    return {f"model.diffusion_model.{name}": tensor.contiguous() for name, tensor in made.items()}


def whole_pipeline(folder: Path, plain: Any, path: Path) -> Any:
    """SD3 from a file in its authors' layout, which has the transformer alone."""
    save_file(as_its_authors_save_it(plain.transformer), path)
    parts = {name: part for name, part in plain.components.items() if name != "transformer"}
    return diffusers.StableDiffusion3Pipeline.from_single_file(str(path), config=str(folder), **parts)


def transformer_alone(folder: Path, plain: Any, path: Path) -> Any:
    """FLUX.1's transformer from a file in diffusers' layout."""
    save_file(plain.transformer.state_dict(), path)
    kind = type(plain.transformer)
    transformer = kind.from_single_file(str(path), config=str(folder), subfolder="transformer")
    return diffusers.FluxPipeline(**{**plain.components, "transformer": transformer})


@pytest.mark.parametrize(("name", "opened"), [("sd3", whole_pipeline), ("flux", transformer_alone)])
def test_a_single_file_is_recorded_as_its_folder_is(folder_of, tmp_path, name, opened) -> None:
    plain, given = plain_hooks.opened(folder_of(name)), {**TINY[name].call, **call(name)}
    seen = plain_hooks.run(plain, name, PROMPTS, SEEDS * 2, **given)
    pipeline = opened(folder_of(name), plain, tmp_path / "model.safetensors")
    assert pipeline.transformer is not plain.transformer
    with ds.load(pipeline, name="one file") as dit:
        assert dit.check(**given).ok
        with ds.record(dit, tmp_path / "a", streams=["image", "text"], blocks=[0, 1], batch_size=2) as rec:
            cache = rec.generate(PROMPTS, SEEDS, **given)
    assert cache.manifest["config"]["model"] == "one file"
    assert np.array_equal(cache.images.values, seen.images)
    for stream in ("image", "text"):
        hidden = cache.hidden(stream).load()
        for step, branch, block in np.ndindex(*(hidden.sizes[dim] for dim in ("step", "branch", "block"))):
            place = hidden.isel(step=step, branch=branch, block=block)
            visit, rows = plain_hooks.branch_rows(name, True, step, str(place.branch.values), images=2)
            assert np.array_equal(place.values, seen.hidden[visit, int(place.block), stream][rows].numpy())


@pytest.mark.parametrize("name", ["model.safetensors", "folder/flux1-dev.GGUF", "sd3.ckpt"])
def test_a_file_by_its_path_is_refused_with_the_way_to_open_it(tmp_path, name) -> None:
    with pytest.raises(InputError, match=rf"{name}, a single file of .*from_single_file.* ds\.load\(pipe\)"):
        ds.load(tmp_path / name)
