"""Edits of modulation give the very image that plain hooks on what makes it, or passes it to a block, give."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import N_STEPS, ONE_OF_EACH_FAMILY, SEEDS, batch, branches, call, streams
from plain_modules import part_of, sites_of, sources

import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced

CHANNELS, BLOCKS = [3, 7], (0, -1)


def zeroed(source: torch.Tensor, numbers: list[int], rows: slice, width: int) -> torch.Tensor:
    """Modulation of all parts with some channels of some parts and rows zero."""
    parts = source.reshape(len(source), -1, width).clone()
    for number in numbers:
        parts[rows, number, CHANNELS] = 0
    return parts.reshape(source.shape)


def image_under_hooks(folder, name: str, edited: list[tuple[str, str]], width: int, dtype) -> np.ndarray:
    pipeline = plain_hooks.opened(folder, dtype)
    guided = len(branches(name)) == 2
    acting = dict(plain_hooks.branch_rows(name, guided, step, "cond", images=2) for step in range(N_STEPS))
    visits: list[None] = []

    def numbers(kind: str, stream: str) -> list[int]:
        sites = sites_of(name, kind)
        return [
            part_of(name, kind, s, sites.index(site)) for site, s in edited if s == stream and site in sites
        ]

    def on_source(kind: str, stream: str, _module: Any, _args: Any, output: torch.Tensor) -> Any:
        rows = acting.get(len(visits) - 1)
        return output if rows is None else zeroed(output, numbers(kind, stream), rows, width)

    def on_argument(kind: str, argument: str, stream: str, module: Any, args: Any, kwargs: Any) -> Any:
        rows = acting.get(len(visits) - 1)
        if rows is None:
            return None
        value = kwargs[argument] if argument in kwargs else args[4]
        new = zeroed(value, numbers(kind, stream), rows, width)
        if name in plain_hooks.IMAGE_ONLY:  # the block adds its table, so what is zero is the sum
            parts = new.reshape(len(new), -1, width)
            for number in numbers(kind, stream):
                parts[rows, number, CHANNELS] = -module.scale_shift_table[number, CHANNELS].to(new.dtype)
        if argument in kwargs:
            return args, {**kwargs, argument: new}
        return (*args[:4], new, *args[5:]), kwargs

    blocks = plain_hooks.blocks_of(pipeline)
    kinds = [type(block).__name__ for block in blocks]
    handles = [pipeline.transformer.register_forward_pre_hook(lambda *_: visits.append(None))]
    for number in BLOCKS:
        block = blocks[number]
        kind = "single" if "Single" in kinds[number] else "double"
        if name in plain_hooks.IMAGE_ONLY:
            hook = partial(on_argument, kind, "timestep", "image")
            handles.append(block.register_forward_pre_hook(hook, with_kwargs=True))
            continue
        for stream in streams(name):
            if name == "chroma" or name.startswith("flux2"):
                own = {"image": "temb_mod_img", "text": "temb_mod_txt"}[stream]
                argument = "temb" if name == "chroma" else "temb_mod" if kind == "single" else own
                hook = partial(on_argument, kind, argument, stream)
                handles.append(block.register_forward_pre_hook(hook, with_kwargs=True))
            else:
                source = sources(name, pipeline.transformer, block)[stream]
                handles.append(source.register_forward_hook(partial(on_source, kind, stream)))
    try:
        return plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, **call(name)).images
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_an_edit_of_modulation_is_what_a_plain_hook_does(opened, folder_of, plainly, name, dtype) -> None:
    """In the first and the last block, of one branch: a gate, and the scale before the MLP where there is one."""
    dit = opened(name, dtype)
    last = dit.blocks[-1]
    edited = [("attn_gate", "image"), ("attn_scale", "image")]
    if "mlp_scale" in sites_of(name, last.kind):
        edited.append(("mlp_scale", "image"))
    visitor = EditedVisit(
        dit,
        [
            ds.edits.zero(CHANNELS, blocks=BLOCKS, branches="cond", site=site, stream=stream)
            for site, stream in edited
        ],
        range(N_STEPS),
    )
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    images = run_traced(dit, samples, visitor, **call(name)).images
    visitor.require_fired()
    assert np.array_equal(images, image_under_hooks(folder_of(name), name, edited, dit.width, dtype))
    assert not np.array_equal(images, plainly(name, dtype)[0].images)
    table = visitor.firings.table()
    assert set(table["site"]) == {site for site, _ in edited}
    assert (table["tokens"] == 1).all()
    assert len(table) == N_STEPS * len(edited) * len(BLOCKS) * len(samples)
    assert (table["removed"] > 0).all()


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_modulation_that_is_written_as_it_was_changes_nothing(opened, plainly, name) -> None:
    dit = opened(name)
    edits = [
        ds.edits.scale([0, 5], 1.0, site=site, stream=stream, blocks=0)
        for stream in streams(name)
        for site in sites_of(name, dit.blocks[0].kind)
        # atanh(tanh(x)) and (x + table) - table are rounded.
        if not (name == "lumina2" and site.endswith("gate")) and name not in plain_hooks.IMAGE_ONLY
    ]
    if not edits:
        return
    visitor = EditedVisit(dit, edits, range(N_STEPS))
    samples = [(prompt, SEEDS[0]) for prompt in batch(name)]
    assert np.array_equal(run_traced(dit, samples, visitor, **call(name)).images, plainly(name)[0].images)


def test_a_gate_that_is_a_hyperbolic_tangent_is_not_set_above_one(opened) -> None:
    dit = opened("lumina2")
    visitor = EditedVisit(dit, [ds.edits.scale([0], 1e6, site="attn_gate", blocks=0)], range(N_STEPS))
    with pytest.raises(InputError, match="-1 to 1, as of a hyperbolic tangent"):
        run_traced(dit, [(batch("lumina2")[0], 3)], visitor, **call("lumina2"))


@pytest.mark.parametrize("name", sorted(plain_hooks.IMAGE_ONLY))
def test_modulation_with_a_table_is_what_was_written(opened, name) -> None:
    """But for the rounding of a difference: the block adds its table to what it is passed."""
    dit, pairs = opened(name), []

    def at_visit(visit) -> None:
        block = dit.blocks[0]
        wanted = (
            torch.randn(block.read("attn_scale", "image").shape, generator=torch.Generator().manual_seed(1))
            * 9
        )
        block.write("attn_scale", "image", wanted)
        pairs.append((wanted, block.read("attn_scale", "image").clone()))

    run_traced(dit, [(batch(name)[0], 3), (batch(name)[1], 3)], at_visit, **call(name))
    assert len(pairs) == N_STEPS
    for wanted, written in pairs:
        assert torch.allclose(wanted, written, rtol=1e-6, atol=0)
