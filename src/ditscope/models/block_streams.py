"""Where a hidden state can be read: a site of a block, in a stream.

This is the one place that knows how a block takes and returns its streams. Reading and writing go
through here for the stream properties, for recording and for edits alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ditscope import checks
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.family import BlockList
from ditscope.models.module_arguments import argument, with_argument
from ditscope.vocabulary import SITES

if TYPE_CHECKING:
    from ditscope.models.transformer_inputs import TransformerInputs


class StreamsAt:
    """The streams at one end of a block in one visit, each a tensor ``[row, token, channel]`` to read and to assign.

    A stream is a view of the tensor that carries it, so that what is edited in place needs no putting back, and
    streams in one tensor cannot undo each other's edits. What is assigned stands beside it until the model goes on.

    Args:
        part: ``(stream, raw)`` -> the stream's tensor.
        whole: ``(stream, raw, tensor)`` -> ``raw`` with the stream's tensor replaced.
        raw: what nnsight serves there.
    """

    def __init__(
        self, part: Callable[[str, Any], torch.Tensor], whole: Callable[[str, Any, Any], Any], raw: Any
    ) -> None:
        self._part, self._whole, self._raw = part, whole, raw
        self._views: dict[str, torch.Tensor] = {}
        self._assigned: dict[str, torch.Tensor] = {}

    def __getitem__(self, stream: str) -> torch.Tensor:
        if stream not in self._views:
            self._views[stream] = self._part(stream, self._raw)
        return self._assigned.get(stream, self._views[stream])

    def __setitem__(self, stream: str, tensor: torch.Tensor) -> None:
        found, expected = tuple(getattr(tensor, "shape", ())), tuple(self[stream].shape)
        if not isinstance(tensor, torch.Tensor) or found != expected:
            raise InputError(
                f"{type(tensor).__name__} {found} written to the {stream} stream",
                f"a tensor {expected}, [row, token, channel]",
                "Keep the shape; edit in place, as block.image[:, :, 7] = 0, what is to be a part only.",
            )
        self._assigned.pop(stream, None)
        if tensor is not self._views[stream]:  # as after block.image += 1, which was done in place
            self._assigned[stream] = tensor

    def whole(self) -> Any:
        """What the model goes on with, in the block's own form."""
        raw = self._raw
        for stream, tensor in self._assigned.items():
            raw = self._whole(stream, raw, tensor)
        return raw


def read(
    layout: BlockList,
    names: tuple[str, ...],
    site: str,
    stream: str,
    raw: Any,
    inputs: TransformerInputs,
    image: int = 0,
) -> torch.Tensor:
    """The stream's tensor ``[row, token, channel]`` out of what nnsight serves at a site.

    Args:
        layout: how the block takes and returns its streams.
        names: names of the block's parameters.
        site: ``block_input`` (``raw`` is ``(args, kwargs)``) or ``block_output`` (``raw`` is the return value).
        stream: ``image`` or ``text``.
        raw: what nnsight serves there.
        inputs: what the transformer was passed at this visit.
        image: whose tokens the image stream's are: 0 for the generated image, then the reference images.

    Raises:
        UnsupportedError: the block has no such stream there.
    """
    require_stream(layout, stream, site)
    whole = _carrier(layout, names, site, stream, raw)
    tokens = tokens_of(layout, stream, inputs, image=image)
    return whole if tokens is None else whole[:, tokens]


def write(
    layout: BlockList,
    names: tuple[str, ...],
    site: str,
    stream: str,
    raw: Any,
    tensor: Any,
    inputs: TransformerInputs,
) -> Any:
    """``raw`` with the stream's tensor replaced, in the block's own form; arguments as in :func:`read`."""
    require_stream(layout, stream, site)
    whole = _carrier(layout, names, site, stream, raw)
    tensor = among(whole, tokens_of(layout, stream, inputs), tensor)
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


def among(whole: torch.Tensor, tokens: slice | None, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that carries a stream with the stream's tokens replaced."""
    if tokens is None:
        return tensor
    return torch.cat([whole[:, : tokens.start], tensor, whole[:, tokens.stop :]], dim=1)


def tokens_of(
    layout: BlockList, stream: str, inputs: TransformerInputs, joined: bool | None = None, image: int = 0
) -> slice | None:
    """Where a stream's tokens are in the tensor that carries it; None if they are all of it."""
    registers = inputs.register_tokens
    if not (layout.joined if joined is None else joined):
        if stream == "text":
            return slice(registers, registers + inputs.text_tokens) if registers else None
        return inputs.tokens_of(image) if inputs.reference_tokens else None
    if len(layout.outputs) == 1 and not inputs.reference_tokens:
        return None
    start = 0
    for other in layout.outputs:
        start += registers if other == "text" else 0
        own = slice(0, inputs.text_tokens) if other == "text" else inputs.tokens_of(image)
        if other == stream:
            break
        start += inputs.text_tokens if other == "text" else inputs.image_tokens + inputs.reference_tokens
    return slice(start + own.start, start + own.stop)


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
