"""Where a hidden state can be read: a site of a block, in a stream.

This is the one place that knows how a block takes and returns its streams. Reading and writing go
through here for the stream properties, for recording and for edits alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ditscope import checks
from ditscope.errors import UnsupportedError
from ditscope.models.arguments import argument, with_argument
from ditscope.models.family import BlockList
from ditscope.vocabulary import SITES

if TYPE_CHECKING:
    from ditscope.models.transformer_inputs import TransformerInputs


def read(
    layout: BlockList, names: tuple[str, ...], site: str, stream: str, raw: Any, handed: TransformerInputs
) -> torch.Tensor:
    """The stream's tensor ``[row, token, channel]`` out of what nnsight serves at a site.

    Args:
        layout: how the block takes and returns its streams.
        names: names of the block's parameters.
        site: ``block_input`` (``raw`` is ``(args, kwargs)``) or ``block_output`` (``raw`` is the return value).
        stream: ``image`` or ``text``.
        raw: what nnsight serves there.
        handed: what the transformer was handed at this visit.

    Raises:
        UnsupportedError: the block has no such stream there.
    """
    require_stream(layout, stream, site)
    whole = _carrier(layout, names, site, stream, raw)
    part = tokens_of(layout, stream, handed)
    return whole if part is None else whole[:, part]


def write(
    layout: BlockList,
    names: tuple[str, ...],
    site: str,
    stream: str,
    raw: Any,
    tensor: Any,
    handed: TransformerInputs,
) -> Any:
    """``raw`` with the stream's tensor replaced, in the block's own form; arguments as in :func:`read`."""
    require_stream(layout, stream, site)
    whole = _carrier(layout, names, site, stream, raw)
    part = tokens_of(layout, stream, handed)
    if part is not None:
        tensor = torch.cat([whole[:, : part.start], tensor, whole[:, part.stop :]], dim=1)
    if site == "block_input":
        return with_argument(names, raw, layout.inputs[stream], tensor)
    if layout.joined:
        return tensor
    position = layout.outputs.index(stream)
    return (*raw[:position], tensor, *raw[position + 1 :])


def _carrier(layout: BlockList, names: tuple[str, ...], site: str, stream: str, raw: Any) -> torch.Tensor:
    """The tensor that carries a stream, perhaps among others."""
    if site == "block_input":
        return argument(names, raw, layout.inputs[stream])
    return raw if layout.joined else raw[layout.outputs.index(stream)]


def tokens_of(
    layout: BlockList, stream: str, handed: TransformerInputs, joined: bool | None = None
) -> slice | None:
    """Where a stream's tokens are in the tensor that carries it; None if they are all of it."""
    registers = handed.register_tokens
    if not (layout.joined if joined is None else joined):
        if stream == "text":
            return slice(registers, registers + handed.text_tokens) if registers else None
        return slice(0, handed.image_tokens) if handed.reference_tokens else None
    if len(layout.outputs) == 1 and not handed.reference_tokens:
        return None
    start = 0
    for other in layout.outputs:
        start += registers if other == "text" else 0
        length = handed.text_tokens if other == "text" else handed.image_tokens
        if other == stream:
            break
        start += length
    return slice(start, start + length)


def require_site(layout: BlockList, site: str) -> None:
    """Refuse a site that the block does not have.

    Raises:
        InputError: there is no site of that name in any block.
        UnsupportedError: the block has no such site.
    """
    checks.site(site)
    if not layout.streams(site):
        known = [name for name in SITES if layout.streams(name)]
        raise UnsupportedError(
            f"site {site!r} asked of a {layout.kind} block, which has none",
            f"one of {', '.join(known)}",
            "Leave these blocks out with blocks=, or ask for another site.",
        )


def require_stream(layout: BlockList, stream: str, site: str = "block_output") -> None:
    """Refuse a stream that the block does not carry at a site.

    Raises:
        UnsupportedError: the block has no such stream there.
    """
    require_site(layout, site)
    if stream not in layout.streams(site):
        which = f"a {layout.kind} block" if layout.returned is None else f"the last {layout.kind} block"
        raise UnsupportedError(
            f"stream {stream!r} asked of {which} at {site}",
            f"one of {', '.join(layout.streams(site))}",
            "Leave these blocks out with blocks=, or ask for another stream.",
        )
