"""Choosing blocks of a model: by index, by negative index, by name, or all blocks of a kind.

This is the one place that reads ``blocks=``, for what a recording keeps and for where an edit acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from ditscope.errors import InputError, found_expected

Address = int | str
"""An index, a negative index counting from the last block, a name (``single.5``) or a kind (``single``)."""


class Named(Protocol):
    """What a block is told by, beside its place."""

    @property
    def name(self) -> str:
        """Such as ``single.5``."""

    @property
    def kind(self) -> str:
        """Such as ``single``."""


AnyBlock = TypeVar("AnyBlock", bound=Named)


def find_blocks(
    blocks: Sequence[AnyBlock], wanted: Address | Iterable[Address] | None = None
) -> list[AnyBlock]:
    """The wanted blocks, each once, in execution order.

    Args:
        blocks: all blocks of a model in execution order.
        wanted: one address or several; None for all blocks.

    Raises:
        InputError: none is wanted, or an address is not one or stands for no block of the model.
    """
    if wanted is None:
        return list(blocks)
    chosen: set[int] = set()
    for address in check_addresses(wanted):
        places = _places(blocks, address)
        if not places:
            kinds = ", ".join(dict.fromkeys(block.kind for block in blocks))
            raise _refusal(
                address,
                f"an index from {-len(blocks)} to {len(blocks) - 1}, a name from {blocks[0].name} to "
                f"{blocks[-1].name}, or a kind of {kinds}",
            )
        chosen.update(places)
    return [blocks[place] for place in sorted(chosen)]


def check_addresses(wanted: Address | Iterable[Address]) -> tuple[Address, ...]:
    """The addresses, when the model they are meant for is not known yet.

    Raises:
        InputError: there are none, or one is neither a whole number nor text.
    """
    alone = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    addresses: tuple[Any, ...] = (wanted,) if alone else tuple(wanted)  # type: ignore[arg-type]
    if not addresses:
        raise InputError(found_expected("no blocks", "at least one", "Leave blocks= out for all."))
    for address in addresses:
        if not isinstance(address, str | int | np.integer) or isinstance(address, bool):
            raise _refusal(address, "an index, a name such as single.5, or a kind such as single")
    return addresses


def _places(blocks: Sequence[Named], address: Address) -> list[int]:
    if not isinstance(address, str):
        return [int(address) % len(blocks)] if -len(blocks) <= address < len(blocks) else []
    return [place for place, block in enumerate(blocks) if address in (block.name, block.kind)]


def _refusal(address: object, expected: str) -> InputError:
    return InputError(found_expected(f"block {address!r}", expected, "See dit.blocks, and mend blocks=."))
