"""Block lists that several families have, but for names: each is one builder, and a family passes what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ditscope.models.family import BlockList
from ditscope.models.hook_points import Modulated, Tap, modulation

_APART = {"image": "hidden_states", "text": "encoder_hidden_states"}
_TOGETHER = {"image": "hidden_states", "text": "hidden_states"}


def dual_stream(
    path: str,
    kind: str,
    block_class: str,
    *,
    image: Mapping[str, Tap] | None = None,
    text: Mapping[str, Tap] | None = None,
    attn: str = "attn",
    attn_norms: tuple[str, str] = ("norm1.norm", "norm1_context.norm"),
    mlps: tuple[str, str] = ("ff", "ff_context"),
    mlp_norms: tuple[str, str] = ("norm2", "norm2_context"),
    mlp_argument: str = "hidden_states",
    outputs: tuple[str, ...] = ("text", "image"),
    **more: Any,
) -> BlockList:
    """Blocks with one attention over both streams and an MLP for each, modulated by AdaLN; FLUX.1's by default.

    ``image`` and ``text`` are the streams' modulation; pairs are of the image's and the text's module. Attention
    returns image and text. An MLP that is named twice is called for the image first; ``mlp_argument`` is how a
    stream comes into it. The rest are fields of :class:`BlockList`.
    """
    taps, modulated = {}, {}
    modulations = (
        image or modulation(module="norm1.linear"),
        text or modulation(module="norm1_context.linear"),
    )
    for item, (stream, argument) in enumerate(_APART.items()):
        call = (mlps[:item].count(mlps[item]), mlps.count(mlps[item]))
        taps[stream] = {
            **modulations[item],
            "attn_output": Tap(attn, item=item),
            "mlp_output": Tap(mlps[item], call=call),
        }
        modulated[stream] = {
            "attn": Modulated(Tap(attn_norms[item]), Tap(attn, argument)),
            "mlp": Modulated(Tap(mlp_norms[item]), Tap(mlps[item], mlp_argument, call=call)),
        }
    alone = {"value_path": (f"{attn}.to_v", f"{attn}.to_out.0"), **more}
    return BlockList(path, kind, block_class, _APART, outputs, taps=taps, modulated=modulated, **alone)


def single_stream(
    path: str,
    block_class: str,
    taps: Mapping[str, Tap],
    modulated: Mapping[str, Modulated],
    *,
    kind: str = "single",
    inputs: Mapping[str, str] = _TOGETHER,
    value_path: tuple[str, ...] = (),
    **more: Any,
) -> BlockList:
    """Blocks that run text and image as one tensor, under one description for both; ``more`` likewise."""
    both = {"taps": taps, "modulated": modulated, **more}
    return BlockList(
        path,
        kind,
        block_class,
        inputs,
        ("text", "image"),
        joined=inputs is _TOGETHER,
        value_path=value_path,
        **{name: {"image": value, "text": value} for name, value in both.items()},  # type: ignore[arg-type]
    )


def fused(
    path: str,
    block_class: str,
    *,
    added: str = "proj_out",
    norm: str = "norm.norm",
    apart: bool = False,
    **where: Any,
) -> BlockList:
    """Single-stream blocks that add attention and MLP as one tensor, under one modulation for both streams.

    ``added`` puts out that tensor, ``norm`` is before attention, and ``where`` is where the modulation is, as of
    :class:`Tap`. Blocks that take and return the streams ``apart`` join them inside.
    """
    taps = modulation(sites=("attn_shift", "attn_scale", "attn_gate"), **where)
    return single_stream(
        path,
        block_class,
        taps,
        {"attn": Modulated(Tap(norm, joined=True), Tap("attn", "hidden_states", joined=True))},
        inputs=_APART if apart else _TOGETHER,
        also_added=((Tap(added, joined=True), taps["attn_gate"]),),
    )


def cross_attention(block_class: str, *, planar: bool = False) -> BlockList:
    """Blocks of the image stream alone, which reads the text by cross-attention; ``planar`` as of the MLP's tap."""
    taps = {
        **modulation(argument="timestep", table="scale_shift_table"),
        "attn_output": Tap("attn1"),
        "mlp_output": Tap("ff", planar=planar),
    }
    modulated = {
        "attn": Modulated(Tap("norm1"), Tap("attn1", "hidden_states")),
        "mlp": Modulated(Tap("norm2"), Tap("ff", "hidden_states", planar=planar)),
    }
    return BlockList(
        "transformer_blocks",
        "cross",
        block_class,
        {"image": "hidden_states"},
        ("image",),
        joined=True,
        taps={"image": taps},
        also_added={"image": ((Tap("attn2"), None),)},  # cross-attention has no gate
        value_path=("attn1.to_v", "attn1.to_out.0"),
        modulated={"image": modulated},
    )
