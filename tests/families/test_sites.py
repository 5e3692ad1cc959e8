"""Sites inside the blocks: the same names on every family, each tested by what it does."""

from __future__ import annotations

import dataclasses

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline
from diffusers.models.normalization import AdaLayerNormZero
from test_families import NAMES, PROMPTS, SEEDS, branches, guided, returned, size, streams

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import UnsupportedError
from ditscope.models.block import Block
from ditscope.models.sites import SITES
from ditscope.models.taps import MODULATION, Tap
from ditscope.tracing.run import run_traced

# Where diffusers' own code has what it adds, before the gate: (site, stream) -> module, item of its output.
JOINT = {("attn_output", "image"): ("attn", 0), ("attn_output", "text"): ("attn", 1)}
FEED_FORWARD = {("mlp_output", "image"): ("ff", None), ("mlp_output", "text"): ("ff_context", None)}
CROSS = {("attn_output", "image"): ("attn1", None), ("mlp_output", "image"): ("ff", None)}
COGVIEW = {
    **{place: ("attn1", item) for place, (_, item) in JOINT.items()},
    ("mlp_output", "image"): ("ff", None),
    ("mlp_output", "text"): ("ff", None),
}
LUMINA = {
    (site, stream): (module, None)
    for site, module in (("attn_output", "norm2"), ("mlp_output", "ffn_norm2"))
    for stream in ("image", "text")
}
QWEN = {**JOINT, ("mlp_output", "image"): ("img_mlp", None), ("mlp_output", "text"): ("txt_mlp", None)}


def modules_of(name: str) -> dict:
    if name in plain_hooks.IMAGE_ONLY:
        return CROSS
    return {"qwen-image": QWEN, "cogview4": COGVIEW, "lumina2": LUMINA}.get(name, {**JOINT, **FEED_FORWARD})


def call_of(name: str, site: str, stream: str) -> slice:
    """Which calls of a module are the stream's: CogView4 runs the image and then the text through one MLP."""
    shared = name == "cogview4" and site == "mlp_output"
    return slice(int(stream == "text"), None, 2) if shared else slice(None)


@pytest.mark.parametrize("name", NAMES)
def test_what_attention_and_mlp_add_is_what_plain_hooks_see(opened, folder_of, tmp_path, name) -> None:
    dit, call = opened(name), {"num_inference_steps": 1, **size(name), **guided(name)}
    kept = [block.index for block in dit.blocks if block.kind != "single"][
        : returned(name, len(dit.blocks)).stop
    ]
    with ds.record(
        dit, tmp_path / "a.zarr", streams=streams(name), sites=["attn_output", "mlp_output"], blocks=kept
    ) as rec:
        cache = rec.generate(PROMPTS[0], SEEDS, **call)

    pipeline = DiffusionPipeline.from_pretrained(folder_of(name))
    seen: dict = {}
    blocks = plain_hooks.blocks_of(pipeline)

    def watch(block: int, place: tuple[str, str], path: str, item: int | None) -> None:
        def hook(module, args, output) -> None:
            value = output if item is None else output[item]
            if value.ndim == 4:
                value = value.permute(0, 2, 3, 1).flatten(1, 2)
            seen.setdefault((block, *place), []).append(value.clone())

        blocks[block].get_submodule(path).register_forward_hook(hook)

    for block in kept:
        for place, (path, item) in modules_of(name).items():
            watch(block, place, path, item)
    generator = [torch.Generator().manual_seed(SEEDS[0])]
    pipeline(prompt=[PROMPTS[0]], generator=generator, **{**tiny.TINY[name].call, **call})

    for (block, site, stream), values in seen.items():
        for branch in branches(name):
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, 0, branch, images=1)
            expected = values[call_of(name, site, stream)][visit][rows][0].numpy()
            if name == "lumina2":  # the text, then the image of 4 x 6 tokens
                expected = expected[:-24] if stream == "text" else expected[-24:]
            if stream == "text":
                expected = expected[plain_hooks.REGISTERS.get(name, 0) :]
            found = cache.hidden(stream, site).sel(branch=branch, block=block).values[0, 0]
            assert np.array_equal(found[: len(expected)], expected), (block, site, stream, branch)


def read_modulation(dit, call) -> dict:
    """(block, stream, site) -> values at the first visit, with what the formula of AdaLN is made of."""
    found: dict = {}

    def at_visit(visit) -> None:
        if visit.index:
            return
        for block in dit.blocks:
            for stream in ("image", "text"):
                for site in MODULATION:
                    if stream in block.layout.streams(site):
                        found[block.index, stream, site] = block.read(site, stream).clone()

    run_traced(dit, [(PROMPTS[0], 0)], at_visit, **call)
    return found


def test_blocks_of_flux2_share_their_modulation_and_those_of_pixart_do_not(opened) -> None:
    for name, shared in (("flux2-klein", True), ("pixart-sigma", False), ("sana", False)):
        found = read_modulation(opened(name), {"num_inference_steps": 1, **size(name)})
        gates = [found[block, "image", "attn_gate"] for block in (0, 1)]
        assert gates[0].equal(gates[1]) == shared, name


@pytest.mark.parametrize("name", ["flux", "flux2-klein"])
@pytest.mark.parametrize("site", ["attn_output", "mlp_output"])
def test_a_site_that_single_blocks_do_not_have_is_refused_by_name(opened, tmp_path, name, site) -> None:
    with pytest.raises(UnsupportedError, match=f"site '{site}' asked of a single block"):
        ds.record(opened(name), tmp_path / "a.zarr", sites=[site])


@pytest.mark.parametrize(
    "name", ["flux", "qwen-image", "sana", "sd3", "pixart-sigma", "flux2-klein", "auraflow", "lumina2"]
)
@pytest.mark.parametrize("site", ["attn_output", "mlp_output"])
def test_zeroing_what_a_block_adds_takes_that_term_away(opened, name, site) -> None:
    """Edits at a site act through its gate and nothing else: the sum over the terms still holds."""
    dit, call = opened(name), {"num_inference_steps": 1, **size(name)}
    edit = ds.edits.zero(range(dit.width), blocks=[0], site=site)
    visitor, seen = EditedVisit(dit, [edit], 1), []
    gate = site.replace("output", "gate")

    def at_visit(visit) -> None:
        block = dit.blocks[0]
        if visit.index:
            return
        start, gates = block.read("block_input", "image").clone(), block.read(gate, "image")
        for place in SITES:
            visitor.apply(visit, block, place)
            if place == site:
                seen.append((gates * block.read(site, "image")).abs().max())
        seen.append((block.image - start).abs().max())

    run_traced(dit, [(PROMPTS[0], 0)], at_visit, **call)
    visitor.require_fired()
    assert float(seen[0]) == 0.0
    # AuraFlow's block adds nothing but its MLP's output, which attention reaches it by.
    nothing_else = name == "auraflow" and site == "mlp_output"
    assert (float(seen[1]) == 0) == nothing_else


ADDED = "attention and MLP outputs, gated, add up to what each block adds"
HANDED = "shift and scale make what attention and MLP are handed"
HELD = "every site is held by an equation, attention before the MLP"
PLACES = "the places of the sites are in the blocks"
INSIDE = "what a trace reads inside the blocks equals what plain hooks see"


def describe(monkeypatch, block, **changes) -> None:
    monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, **changes))


def failing(dit, name: str) -> list[str]:
    return [finding.claim for finding in dit.check(PROMPTS[0], **size(name)).findings if not finding.holds]


@pytest.mark.parametrize(
    "name", ["flux", "qwen-image", "sd3", "sana", "pixart-sigma", "flux2-dev", "auraflow"]
)
@pytest.mark.parametrize(
    ("swap", "broken"),
    [
        (("attn_output", "mlp_output"), [ADDED]),
        (("attn_gate", "mlp_gate"), [ADDED]),
        (("attn_gate", "attn_scale"), [ADDED, HANDED]),
        (("attn_shift", "attn_scale"), [HANDED]),
        (("mlp_shift", "mlp_scale"), [HANDED]),
        (("attn_scale", "mlp_scale"), [HANDED]),
    ],
)
def test_a_tap_on_another_tensor_makes_the_check_fail(opened, monkeypatch, name, swap, broken) -> None:
    dit, exchanged = opened(name), dict([swap, swap[::-1]])
    for block in dit.blocks:
        if not set(swap) <= set(block.layout.taps["image"]):
            continue
        taps = {
            stream: {site: places[exchanged.get(site, site)] for site in places}
            for stream, places in block.layout.taps.items()
        }
        monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, taps=taps))
    assert [claim for claim in failing(dit, name) if claim != HELD] == broken


def test_nothing_is_claimed_of_what_a_family_does_not_describe(opened, monkeypatch) -> None:
    dit = opened("sd3")
    for block in dit.blocks:
        bare = dataclasses.replace(block.layout, taps={}, also_added={}, modulated={})
        monkeypatch.setattr(block, "layout", bare)
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert report.ok, report
    assert not {ADDED, HANDED} & {finding.claim for finding in report.findings}


@pytest.mark.parametrize("name", ["flux", "qwen-image", "sd3", "flux2-dev"])
def test_modulation_of_the_other_stream_makes_the_check_fail(opened, monkeypatch, name) -> None:
    dit, block = opened(name), opened(name).blocks[0]
    taps = {"image": block.layout.taps["text"], "text": block.layout.taps["image"]}
    describe(monkeypatch, block, taps=taps)
    assert {ADDED, HANDED} <= set(failing(dit, name))


def test_the_calls_of_a_shared_mlp_the_wrong_way_round_make_the_check_fail(opened, monkeypatch) -> None:
    dit, block = opened("cogview4"), opened("cogview4").blocks[0]
    taps = {stream: dict(places) for stream, places in block.layout.taps.items()}
    taps["image"]["mlp_output"], taps["text"]["mlp_output"] = (
        taps[stream]["mlp_output"] for stream in ("text", "image")
    )
    monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, taps=taps))
    assert failing(dit, "cogview4") == [HELD, ADDED]  # the text's MLP would put out before it is handed


@pytest.mark.parametrize(("stream", "call"), [("image", 0), ("text", 1)])
def test_an_edit_of_a_shared_mlp_gets_its_own_call(opened, folder_of, stream, call) -> None:
    """In the last visit, where nnsight by itself would serve the next call that comes."""
    dit, settings = opened("cogview4"), {"num_inference_steps": 2, **size("cogview4"), "guidance_scale": 3.0}
    where = {"blocks": [1], "steps": [1], "branches": ["uncond"], "stream": stream, "site": "mlp_output"}
    visitor = EditedVisit(dit, [ds.edits.zero([3, 7], **where)], 2)
    images = run_traced(dit, [(PROMPTS[0], 3)], visitor, **settings).images

    pipeline, calls = DiffusionPipeline.from_pretrained(folder_of("cogview4")), []

    def zero(module, args, output):
        calls.append(1)
        if len(calls) - 1 == 2 * 3 + call:  # two calls a visit, the last of four visits
            output[..., [3, 7]] = 0
        return output

    pipeline.transformer.transformer_blocks[1].ff.register_forward_hook(zero)
    generator = torch.Generator().manual_seed(3)
    expected = pipeline(prompt=[PROMPTS[0]], generator=[generator], output_type="np", **settings).images
    assert len(calls) == 8
    assert np.array_equal(images, np.round(expected * 255).astype(np.uint8))


def test_a_library_that_moves_a_tensor_makes_the_check_fail(opened, folder_of, monkeypatch) -> None:
    """As if an update of diffusers made shift and scale in the other order, or named a layer anew."""

    def scale_first(self, x, timestep=None, class_labels=None, hidden_dtype=None, emb=None):
        scale, shift, gate, mlp_shift, mlp_scale, mlp_gate = self.linear(self.silu(emb)).chunk(6, dim=1)
        return self.norm(x) * (1 + scale[:, None]) + shift[:, None], gate, mlp_shift, mlp_scale, mlp_gate

    with monkeypatch.context() as patch:
        patch.setattr(AdaLayerNormZero, "forward", scale_first)
        assert failing(ds.load(str(folder_of("sd3"))), "sd3") == [HANDED]


@pytest.mark.parametrize("name", ["flux", "qwen-image", "sd3", "sana", "pixart-sigma", "flux2-dev"])
@pytest.mark.parametrize("modulated", [False, True])
def test_attention_and_mlp_in_each_others_place_make_the_check_fail(
    opened, monkeypatch, name, modulated
) -> None:
    """The sum of what a block adds does not notice; nor does anything, if shift and scale change places too."""
    dit, block = opened(name), opened(name).blocks[0]
    other = {"attn": "mlp", "mlp": "attn"}
    kinds = ("shift", "scale", "gate", "output") if modulated else ("gate", "output")
    exchanged = {f"{part}_{kind}": f"{other[part]}_{kind}" for part in other for kind in kinds}
    changes = {
        "taps": {
            stream: {site: taps[exchanged.get(site, site)] for site in taps}
            for stream, taps in block.layout.taps.items()
        }
    }
    if modulated:
        changes["modulated"] = {
            stream: {part: found[other[part]] for part in found}
            for stream, found in block.layout.modulated.items()
        }
    describe(monkeypatch, block, **changes)
    assert failing(dit, name) == [HELD]


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ({"modulated": {}}, "nothing holds attn_shift of the image stream of joint.1"),
        ({"taps": {"image": {"attn_gate": Tap("norm1.linear", part=0)}}}, "nothing holds attn_gate"),
    ],
)
def test_a_site_that_is_offered_and_held_by_nothing_makes_the_check_fail(
    opened, monkeypatch, left_out, told
) -> None:
    dit = opened("sd3")
    describe(monkeypatch, dit.blocks[1], **left_out)
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert HELD in [finding.claim for finding in report.findings if not finding.holds]
    assert told in str(report)


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (Tap("feed_forward"), "joint.1 has no feed_forward"),
        (Tap("attn", "sequence"), "joint.1 has no attn(sequence=)"),
        (Tap(argument="modulation"), "joint.1 has no JointTransformerBlock(modulation=)"),
        (Tap("attn.norm_q_unused"), "joint.1 does not call attn.norm_q_unused"),
    ],
)
def test_a_place_that_is_gone_makes_the_check_fail(opened, monkeypatch, moved, told) -> None:
    dit, block = opened("sd3"), opened("sd3").blocks[1]
    monkeypatch.setitem(block._module.attn._modules, "norm_q_unused", torch.nn.Identity())
    image = {**block.layout.taps["image"], "mlp_output": moved}
    describe(monkeypatch, block, taps={**block.layout.taps, "image": image})
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert [finding.claim for finding in report.findings if not finding.holds] == [PLACES]
    assert told in str(report)


def test_a_part_that_the_modulation_does_not_have_is_refused(opened, monkeypatch) -> None:
    dit, block = opened("sd3"), opened("sd3").blocks[1]
    image = {**block.layout.taps["image"], "mlp_gate": Tap("norm1.linear", part=6)}
    describe(monkeypatch, block, taps={**block.layout.taps, "image": image})
    with pytest.raises(UnsupportedError, match=r"192 channels of modulation at norm1.linear of joint\.1"):
        dit.check(PROMPTS[0], **size("sd3"))


@pytest.mark.parametrize("name", ["flux", "flux2-klein-base", "qwen-image"])
def test_what_is_wrong_in_the_uncond_visit_alone_makes_the_check_fail(opened, monkeypatch, name) -> None:
    dit, honest = opened(name), Block.served

    def wrong_in_the_second_visit(self, place):
        served = honest(self, place)
        second = (
            dit.run_state.n_visits == 2 and self.index == 0 and (place.module, place.argument) == ("attn", "")
        )
        return tuple(2 * part for part in served) if second else served

    monkeypatch.setattr(Block, "served", wrong_in_the_second_visit)
    assert failing(dit, name) == [INSIDE, ADDED]
