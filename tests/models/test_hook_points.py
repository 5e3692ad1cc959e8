"""Parts of modulation: in diffusers' own order, none of them twice, all of one tensor."""

from __future__ import annotations

import torch
from diffusers.models.normalization import AdaLayerNormZero, AdaLayerNormZeroSingle

from ditscope.models.hook_points import HookPoint, Tap, modulation
from ditscope.vocabulary import MODULATION


def test_the_parts_are_in_the_order_in_which_diffusers_cuts_them() -> None:
    torch.manual_seed(0)
    norm, x, embedded = AdaLayerNormZero(4), torch.randn(1, 3, 4), torch.randn(1, 4)
    whole = norm.linear(norm.silu(embedded))
    part = {
        site: whole[:, 4 * tap.part : 4 * (tap.part + 1)] for site, tap in modulation(module="linear").items()
    }
    passed, *rest = norm(x, emb=embedded)
    assert all(
        torch.equal(part[site], found)
        for site, found in zip(("attn_gate", "mlp_shift", "mlp_scale", "mlp_gate"), rest, strict=True)
    )
    torch.testing.assert_close(passed, (1 + part["attn_scale"]) * norm.norm(x) + part["attn_shift"])
    assert len(part) * 4 == whole.shape[1]


def test_fewer_sites_are_counted_from_the_first() -> None:
    norm, embedded = AdaLayerNormZeroSingle(4), torch.randn(1, 4)
    taps = modulation(sites=MODULATION[:3], module="linear")
    assert [tap.part for tap in taps.values()] == [0, 1, 2]
    whole = norm.linear(norm.silu(embedded))
    gate = taps["attn_gate"].part * 4
    assert torch.equal(norm(torch.randn(1, 3, 4), emb=embedded)[1], whole[:, gate : gate + 4])


def test_streams_that_take_turns_share_no_part_and_leave_none_out() -> None:
    image, text = (modulation(first=first, stride=2, module="norm1.linear") for first in (0, 1))
    assert list(image) == list(text) == list(MODULATION)
    turns = [tap.part for pair in zip(image.values(), text.values(), strict=True) for tap in pair]
    assert turns == list(range(12))
    behind = modulation(first=6, argument="temb")
    assert [tap.part for tap in behind.values()] == list(range(6, 12))


def test_every_part_hangs_on_one_hook_and_only_named_sites_have_a_tanh() -> None:
    taps = modulation(sites=("attn_scale", "attn_gate"), tanh=("attn_gate",), module="", argument="temb")
    assert taps == {
        "attn_scale": Tap(argument="temb", part=0),
        "attn_gate": Tap(argument="temb", part=1, tanh=True),
    }
    assert {tap.hook_point for tap in taps.values()} == {HookPoint("", "temb")}
    assert Tap("ff", call=(1, 2)).hook_point == HookPoint("ff", call=1, calls=2)
