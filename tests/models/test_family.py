"""What a family's description says of calls, blocks and places, on descriptions of families and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope.models.families import FLUX, LUMINA2, SANA, SD3
from ditscope.models.family import NO_GUIDANCE, BlockList, Guidance
from ditscope.models.hook_points import Modulated, Tap

BOTH = ("cond", "uncond")
NEGATIVE = {"negative_prompt": ""}
EMBEDDED = {"negative_prompt_embeds": 0, "negative_pooled_prompt_embeds": 0}


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        ({"true_cfg_scale": 2.0, **NEGATIVE}, BOTH),
        ({"true_cfg_scale": np.float32(1.5), **NEGATIVE}, BOTH),
        ({"true_cfg_scale": 2, **EMBEDDED}, BOTH),
        ({"true_cfg_scale": 1.0, **NEGATIVE}, ("cond",)),
        ({"true_cfg_scale": None, **NEGATIVE}, ("cond",)),
        ({"true_cfg_scale": 2.0}, ("cond",)),
        ({"true_cfg_scale": 2.0, "negative_prompt": None}, ("cond",)),
        ({"true_cfg_scale": 2.0, "negative_prompt_embeds": 0}, ("cond",)),
        ({"guidance_scale": 3.5, **NEGATIVE}, ("cond",)),
    ],
)
def test_a_call_is_guided_by_its_scale_and_one_whole_group_of_negatives(call, branches) -> None:
    assert FLUX.guidance.visited(call) == branches


def test_without_negatives_the_scale_alone_decides_unless_the_config_forbids() -> None:
    assert SD3.guidance.visited({"guidance_scale": 7.0}) == ("uncond", "cond")
    assert NO_GUIDANCE.visited({"guidance_scale": 7.0}) == ("cond",)
    distilled = Guidance(BOTH, "guidance_scale", unless="is_distilled")
    for config, branches in (
        ({"is_distilled": True}, ("cond",)),
        ({"is_distilled": False}, BOTH),
        ({}, BOTH),
    ):
        assert distilled.visited({"guidance_scale": 7.0, **config}) == distilled.guided(config) == branches


def test_the_last_block_alone_returns_no_dropped_stream_and_still_takes_it() -> None:
    (layout,) = SD3.block_lists
    first, second, last = layout.each(3)
    assert first is second is layout
    assert last.streams("block_input") == layout.streams("block_output") == ("text", "image")
    assert last.streams("block_output") == last.streams("attn_output") == ("image",)
    assert layout.each(1) == (last,)
    assert layout.each(0) == ()
    assert FLUX.block_lists[0].each(2) == (FLUX.block_lists[0],) * 2


def test_streams_of_a_site_are_those_with_a_tap_in_the_order_of_the_outputs() -> None:
    inputs = {"image": "a", "text": "b"}
    taps = {"text": {"x": Tap("t"), "y": Tap("t")}, "image": {"x": Tap("i")}}
    layout = BlockList("blocks", "kind", "Block", inputs, ("image", "text"), taps=taps)
    assert [layout.streams(site) for site in "xyz"] == [("image", "text"), ("text",), ()]


def test_tapped_modules_are_all_that_is_read_once_each_and_not_the_block_itself() -> None:
    layout = BlockList(
        *("blocks", "kind", "Block", {"image": "x"}, ("image",)),
        taps={
            "image": {
                "attn_output": Tap("attn"),
                "attn_gate": Tap("mod", part=2),
                "mlp_gate": Tap("", "temb"),
            }
        },
        also_added={"image": ((Tap("attn2"), Tap("mod", part=8)), (Tap("adapter"), None))},
        modulated={"image": {"attn": Modulated(Tap("norm"), Tap("attn", "hidden_states"))}},
        attended={"image": Tap("norm2", "x")},
    )
    assert layout.tapped_modules() == ("attn", "mod", "attn2", "adapter", "norm", "norm2")


def test_channels_are_the_product_of_the_entries_that_a_family_names() -> None:
    heads = {"num_attention_heads": 24, "attention_head_dim": 128}
    assert FLUX.channels(heads) == 3072
    assert LUMINA2.channels({**heads, "hidden_size": 2304}) == 2304


def test_a_timestep_is_scaled_by_a_number_or_an_entry_of_the_config_and_then_moved() -> None:
    assert FLUX.timestep(250.0, {"timestep_scale": 7.0}) == pytest.approx(0.25)
    assert SANA.timestep(250.0, {"timestep_scale": 0.01}) == pytest.approx(2.5)
    assert LUMINA2.timestep(250.0, {}) == pytest.approx(0.75)
