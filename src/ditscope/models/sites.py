"""Where a hidden state can be read: a site of a block, in a stream.

This is the one place that knows how a block takes and returns its streams. Reading and writing go
through here for the stream properties, for recording and for edits alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ditscope.errors import InputError, UnsupportedError, found_expected, one_of
from ditscope.models.family import BRANCHES, STREAMS, BlockList

SITES: tuple[str, ...] = ("block_input", "block_output")
"""Sites in the order in which a block passes them."""


def read(layout: BlockList, site: str, stream: str, raw: Any) -> Any:
    """The stream's tensor ``[row, token, channel]`` out of what nnsight serves at a site.

    Args:
        layout: how the block takes and returns its streams.
        site: ``block_input`` (``raw`` is ``(args, kwargs)``) or ``block_output`` (``raw`` is the return value).
        stream: ``image`` or ``text``.
        raw: what nnsight serves there.
    """
    if site == "block_input":
        return raw[1][layout.inputs[stream]]
    return raw[layout.outputs.index(stream)]


def write(layout: BlockList, site: str, stream: str, raw: Any, tensor: Any) -> Any:
    """``raw`` with the stream's tensor replaced, in the block's own form."""
    if site == "block_input":
        args, kwargs = raw
        return args, {**kwargs, layout.inputs[stream]: tensor}
    position = layout.outputs.index(stream)
    return (*raw[:position], tensor, *raw[position + 1 :])


def check_sites(sites: Iterable[str]) -> tuple[str, ...]:
    """The sites, in the order in which a block passes them.

    Raises:
        InputError: none given, or an unknown one.
    """
    return _check("site", sites, SITES)


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


def require_stream(layout: BlockList, stream: str) -> None:
    """Refuse a stream that the block does not carry.

    Raises:
        UnsupportedError: the block has no such stream.
    """
    if stream not in layout.outputs:
        raise UnsupportedError(
            found_expected(
                f"stream {stream!r} asked of a {layout.kind} block",
                f"one of {', '.join(layout.outputs)}",
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
