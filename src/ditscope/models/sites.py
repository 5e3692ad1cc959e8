"""Where a hidden state can be read: a site of a block, in a stream.

This is the one place that knows how a block takes and returns its streams. Reading and writing go
through here for the stream properties, for recording and for edits alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import InputError, UnsupportedError, found_expected, one_of
from ditscope.models.arguments import argument, with_argument
from ditscope.models.family import BRANCHES, STREAMS, BlockList
from ditscope.models.taps import MODULATION

if TYPE_CHECKING:
    from ditscope.models.handed import Handed

ENDS: tuple[str, ...] = ("block_input", "block_output")
"""Where a block takes and returns its streams: every block has them."""

SITES: tuple[str, ...] = ("block_input", "attn_output", "mlp_output", "block_output")
"""Sites of hidden states in the order in which a block passes them; they can be recorded and edited."""

EVERY_SITE: tuple[str, ...] = ("block_input", *MODULATION, "attn_output", "mlp_output", "block_output")
"""All sites in the order in which a block passes them; modulation can be recorded, and not edited."""


def in_passing_order(sites: Iterable[str], streams: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of site and stream in the order in which a block passes them.

    The modulation of one stream is made whole before that of the other; at other sites the streams go
    side by side. ``sites`` and ``streams`` are in the vocabulary's order.
    """

    def place(pair: tuple[str, str]) -> tuple[int, int, int]:
        site, stream = pair
        number = EVERY_SITE.index(site)
        if site in MODULATION:
            return EVERY_SITE.index(MODULATION[0]), STREAMS.index(stream), number
        return number, STREAMS.index(stream), 0

    return sorted(((site, stream) for site in sites for stream in streams), key=place)


def read(
    layout: BlockList, names: tuple[str, ...], site: str, stream: str, raw: Any, handed: Handed
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
    layout: BlockList, names: tuple[str, ...], site: str, stream: str, raw: Any, tensor: Any, handed: Handed
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


def tokens_of(layout: BlockList, stream: str, handed: Handed, joined: bool | None = None) -> slice | None:
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
    if site not in EVERY_SITE:
        raise InputError(one_of("site", site, EVERY_SITE))
    if not layout.streams(site):
        known = [name for name in EVERY_SITE if layout.streams(name)]
        raise UnsupportedError(
            found_expected(
                f"site {site!r} asked of a {layout.kind} block, which has none",
                f"one of {', '.join(known)}",
                "Leave these blocks out with blocks=, or ask for another site.",
            )
        )


def check_sites(sites: Iterable[str]) -> tuple[str, ...]:
    """The sites, in the order in which a block passes them.

    Raises:
        InputError: none given, or an unknown one.
    """
    return _check("site", sites, EVERY_SITE)


def check_streams(streams: Iterable[str]) -> tuple[str, ...]:
    """The streams, in the vocabulary's order.

    Raises:
        InputError: none given, or an unknown one.
    """
    return _check("stream", streams, STREAMS)


def check_branches(branches: Iterable[str]) -> tuple[str, ...]:
    """The branches, in the vocabulary's order.

    Raises:
        InputError: none given, or an unknown one.
    """
    return _check("branch", branches, BRANCHES)


def require_stream(layout: BlockList, stream: str, site: str = "block_output") -> None:
    """Refuse a stream that the block does not carry at a site.

    Raises:
        UnsupportedError: the block has no such stream there.
    """
    require_site(layout, site)
    if stream not in layout.streams(site):
        which = f"a {layout.kind} block" if layout.returned is None else f"the last {layout.kind} block"
        raise UnsupportedError(
            found_expected(
                f"stream {stream!r} asked of {which} at {site}",
                f"one of {', '.join(layout.streams(site))}",
                "Leave these blocks out with blocks=, or ask for another stream.",
            )
        )


def _check(what: str, found: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(found) if isinstance(found, Iterable) and not isinstance(found, str) else (found,)
    for name in names:
        if name not in known:
            raise InputError(one_of(what, name, known))
    if not names:
        raise InputError(
            found_expected(f"no {what}", f"at least one of {', '.join(known)}", f"Name a {what}.")
        )
    return tuple(name for name in known if name in names)
