"""The builders of block lists put every tensor where its stream has it."""

from __future__ import annotations

import pytest

from ditscope.models.block_lists import dual_stream, fused
from ditscope.models.hook_points import Modulated, Tap


def test_the_streams_of_dual_blocks_have_parts_and_norms_of_their_own() -> None:
    layout = dual_stream("blocks", "double", "Block", mlp_argument="x")
    assert layout.taps["image"]["attn_output"] == Tap("attn", item=0)
    assert layout.taps["text"]["attn_output"] == Tap("attn", item=1)
    assert layout.taps["text"]["mlp_gate"] == Tap("norm1_context.linear", part=5)
    assert layout.modulated["text"] == {
        "attn": Modulated(Tap("norm1_context.norm"), Tap("attn", "encoder_hidden_states")),
        "mlp": Modulated(Tap("norm2_context"), Tap("ff_context", "x")),
    }


def test_a_shared_mlp_is_called_for_the_image_first() -> None:
    layout = dual_stream("blocks", "double", "Block", mlps=("ff", "ff"))
    assert [layout.taps[stream]["mlp_output"].call for stream in ("image", "text")] == [(0, 2), (1, 2)]
    assert layout.modulated["text"]["mlp"].passed == Tap("ff", "hidden_states", call=(1, 2))


@pytest.mark.parametrize("apart", [True, False])
def test_fused_blocks_add_one_joined_tensor_whether_they_take_the_streams_apart_or_not(apart) -> None:
    layout = fused("blocks", "Block", apart=apart, module="norm.linear")
    assert layout.joined is not apart
    assert len(set(layout.inputs.values())) == (2 if apart else 1)
    added = ((Tap("proj_out", joined=True), Tap("norm.linear", part=2)),)
    assert layout.also_added == {"image": added, "text": added}
