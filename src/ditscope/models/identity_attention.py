"""What self-attention would put out if every image token attended to itself alone: the projection of its own value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_nnsight import module_of

if TYPE_CHECKING:
    import torch

    from ditscope.models.block import Block


def require_identity_attention(block: Block) -> None:
    """Refuse a block in which it is not known how a token's value becomes attention's output.

    Raises:
        UnsupportedError: the family does not say so, or attention does not run as diffusers wrote it.
    """
    expected = "attention whose values go through modules of their own to its output"
    if not block.layout.value_path:
        raise UnsupportedError(
            f"identity attention in {block.name}, whose family does not say how values become attention's output",
            expected,
            "Name other blocks, or set attn_output to zero.",
        )
    attention = module_of(block).get_submodule(block.layout.value_path[0].rpartition(".")[0])
    processor = type(getattr(attention, "processor", None))
    if getattr(attention, "fused_projections", False):
        raise UnsupportedError(
            f"fused projections in {block.name}",
            expected,
            "Call unfuse_qkv_projections() on the transformer.",
        )
    if processor.__module__.partition(".")[0] != "diffusers":
        raise UnsupportedError(
            f"an attention processor {processor.__name__} in {block.name}, of no known library",
            expected,
            "Set the transformer's own processor again.",
        )


def identity_attention(block: Block) -> torch.Tensor:
    """``attn_output`` of the image stream ``[row, token, channel]`` with the map of its tokens an identity.

    Ask for it in a visit, before anything behind attention in the block.
    """
    passed = block.layout.modulated["image"]["attn"].passed
    value = block.served(passed.hook_point)
    for path in block.layout.value_path:
        value = block.submodule(path)(value)
    return block.tapped(passed, "image", served=value)
