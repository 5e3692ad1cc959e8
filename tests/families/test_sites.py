"""Sites inside the blocks: the same names on every family, each tested by what it does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.normalization import AdaLayerNormZero
from family_calls import IN_BOTH_WAYS, NAMES, PROMPTS, returned, size
from plain_modules import modules_of

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import UnsupportedError
from ditscope.models.block import Block
from ditscope.models.hook_points import Tap
from ditscope.tracing.run import run_traced
from ditscope.vocabulary import SITES


@IN_BOTH_WAYS
@pytest.mark.parametrize("name", NAMES)
def test_what_attention_and_mlp_add_is_what_plain_hooks_see(
    opened, plainly, read, name, dtype, square
) -> None:
    """Every row of every visit."""
    dit, (seen, inside) = opened(name, dtype), plainly(name, dtype, square)
    traced = read(name, dtype, square)
    blocks = [block for block in dit.blocks[: returned(name, len(dit.blocks)).stop] if block.kind != "single"]
    visits = range(len(seen.text_tokens))
    for visit, block in [(visit, block) for visit in visits for block in blocks]:
        for site, stream in modules_of(name):
            expected = inside.output(seen, visit, block.index, site, stream)
            assert traced[visit, block.index, site, stream].equal(expected), (visit, block.name, site, stream)


def test_blocks_of_flux2_share_their_modulation_and_those_of_pixart_do_not(read) -> None:
    for name, shared in (("flux2-klein", True), ("pixart-sigma", False), ("sana", False)):
        first, second = (read(name)[0, block, "attn_gate", "image"] for block in (0, 1))
        assert first.equal(second) == shared, name


@pytest.mark.parametrize("name", ["flux", "flux2-klein"])
@pytest.mark.parametrize("site", ["attn_output", "mlp_output"])
def test_a_site_that_single_blocks_do_not_have_is_refused_by_name(opened, tmp_path, name, site) -> None:
    with pytest.raises(UnsupportedError, match=f"site '{site}' asked of a single block"):
        ds.record(opened(name), tmp_path / "a.zarr", sites=[site], blocks=[0, "single"])


@pytest.mark.parametrize(
    "name", ["flux", "qwen-image", "sana", "sd3", "pixart-sigma", "flux2-klein", "auraflow", "lumina2"]
)
@pytest.mark.parametrize("site", ["attn_output", "mlp_output"])
def test_zeroing_what_a_block_adds_takes_that_term_away(opened, name, site) -> None:
    """Edits at a site act through its gate and nothing else: the sum over the terms still holds."""
    dit, call = opened(name), {"num_inference_steps": 1, **size(name)}
    edit = ds.edits.zero(range(dit.width), blocks=[0], site=site)
    visitor, seen = EditedVisit(dit, [edit], range(1)), []
    gate = site.replace("output", "gate")

    def at_visit(visit) -> None:
        block = dit.blocks[0]
        if visit.index:
            return
        start, gates = block.read("block_input", "image").clone(), block.read(gate, "image")
        for place in SITES:
            visitor.apply_at(visit, block, place, "image")
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
PASSED = "shift and scale make what attention and MLP are passed"
COMPARED = "every site is in an equation, attention before the MLP"
PLACES = "the hook points of the sites are in the blocks"
INSIDE = "what a trace reads inside the blocks equals what plain hooks see"


def describe(monkeypatch, block, **changes) -> None:
    monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, **changes))


def failing(dit, name: str) -> list[str]:
    return [finding.claim for finding in dit.check(PROMPTS[0], **size(name)).findings if not finding.holds]


# Text beside the image; no text, and a table; attention and MLP as one; attention that the MLP's input hangs on.
@pytest.mark.parametrize("name", ["sd3", "pixart-sigma", "flux2-dev", "auraflow"])
@pytest.mark.parametrize(
    ("swap", "broken"),
    [
        (("attn_output", "mlp_output"), [ADDED]),
        (("attn_gate", "mlp_gate"), [ADDED]),
        (("attn_gate", "attn_scale"), [ADDED, PASSED]),
        (("attn_shift", "attn_scale"), [PASSED]),
        (("mlp_shift", "mlp_scale"), [PASSED]),
        (("attn_scale", "mlp_scale"), [PASSED]),
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
    assert [claim for claim in failing(dit, name) if claim != COMPARED] == broken


def test_nothing_is_claimed_of_what_a_family_does_not_describe(opened, monkeypatch) -> None:
    dit = opened("sd3")
    for block in dit.blocks:
        bare = dataclasses.replace(block.layout, taps={}, also_added={}, modulated={})
        monkeypatch.setattr(block, "layout", bare)
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert report.ok, report
    assert not {ADDED, PASSED} & {finding.claim for finding in report.findings}


@pytest.mark.parametrize("name", ["sd3", "flux2-dev"])
def test_modulation_of_the_other_stream_makes_the_check_fail(opened, monkeypatch, name) -> None:
    dit, block = opened(name), opened(name).blocks[0]
    taps = {"image": block.layout.taps["text"], "text": block.layout.taps["image"]}
    describe(monkeypatch, block, taps=taps)
    assert {ADDED, PASSED} <= set(failing(dit, name))


def test_the_calls_of_a_shared_mlp_the_wrong_way_round_make_the_check_fail(opened, monkeypatch) -> None:
    dit, block = opened("cogview4"), opened("cogview4").blocks[0]
    taps = {stream: dict(places) for stream, places in block.layout.taps.items()}
    taps["image"]["mlp_output"], taps["text"]["mlp_output"] = (
        taps[stream]["mlp_output"] for stream in ("text", "image")
    )
    monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, taps=taps))
    assert failing(dit, "cogview4") == [
        COMPARED,
        ADDED,
    ]  # the text's MLP would put out before it is passed on


@pytest.mark.parametrize(("stream", "call"), [("image", 0), ("text", 1)])
def test_an_edit_of_a_shared_mlp_gets_its_own_call(opened, folder_of, stream, call) -> None:
    """In the last visit, where nnsight by itself would serve the next call that comes."""
    dit, settings = opened("cogview4"), {"num_inference_steps": 2, **size("cogview4"), "guidance_scale": 3.0}
    where = {"blocks": [1], "steps": [1], "branches": ["uncond"], "stream": stream, "site": "mlp_output"}
    visitor = EditedVisit(dit, [ds.edits.zero([3, 7], **where)], range(2))
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
        assert failing(ds.load(str(folder_of("sd3"))), "sd3") == [PASSED]


@pytest.mark.parametrize("name", ["sd3", "pixart-sigma"])
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
    assert failing(dit, name) == [COMPARED]


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"modulated": {}}, "no equation has attn_shift of the image stream of joint.1"),
        ({"taps": {"image": {"attn_gate": Tap("norm1.linear", part=0)}}}, "no equation has attn_gate"),
    ],
)
def test_a_site_that_is_offered_and_held_by_nothing_makes_the_check_fail(
    opened, monkeypatch, left_out, message
) -> None:
    dit = opened("sd3")
    describe(monkeypatch, dit.blocks[1], **left_out)
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert COMPARED in [finding.claim for finding in report.findings if not finding.holds]
    assert message in str(report)


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        (Tap("feed_forward"), "joint.1 has no feed_forward"),
        (Tap("attn", "sequence"), "joint.1 has no attn(sequence=)"),
        (Tap(argument="modulation"), "joint.1 has no JointTransformerBlock(modulation=)"),
        (Tap("attn.norm_q_unused"), "joint.1 does not call attn.norm_q_unused"),
    ],
)
def test_a_place_that_is_gone_makes_the_check_fail(opened, monkeypatch, moved, message) -> None:
    dit, block = opened("sd3"), opened("sd3").blocks[1]
    monkeypatch.setitem(block._module.attn._modules, "norm_q_unused", torch.nn.Identity())
    dit.before_run()  # so that the module is known, and the block not described again
    image = {**block.layout.taps["image"], "mlp_output": moved}
    describe(monkeypatch, block, taps={**block.layout.taps, "image": image})
    report = dit.check(PROMPTS[0], **size("sd3"))
    assert [finding.claim for finding in report.findings if not finding.holds] == [PLACES]
    assert message in str(report)


def test_a_part_that_the_modulation_does_not_have_is_refused(opened, monkeypatch) -> None:
    dit, block = opened("sd3"), opened("sd3").blocks[1]
    dit.before_run()
    image = {**block.layout.taps["image"], "mlp_gate": Tap("norm1.linear", part=6)}
    describe(monkeypatch, block, taps={**block.layout.taps, "image": image})
    with pytest.raises(UnsupportedError, match=r"192 channels of modulation at norm1.linear of joint\.1"):
        dit.check(PROMPTS[0], **size("sd3"))


@pytest.mark.parametrize("name", ["qwen-image"])
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
