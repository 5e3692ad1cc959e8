"""Every check of an argument, once: each returns the value in its plain form, or refuses it before work starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from ditscope.errors import InputError, unknown_name
from ditscope.vocabulary import BRANCHES, SITES, STATISTICS, STREAMS

T = TypeVar("T")


def several(values: Any, single: type | tuple[type, ...] = str) -> tuple[Any, ...]:
    """One or several values as a tuple; a value of a ``single`` type is one, as is what cannot be iterated."""
    alone = isinstance(values, single) or not isinstance(values, Iterable)
    return (values,) if alone else tuple(values)


def name_of(what: str, value: object, known: Iterable[T]) -> T:
    """The value, if it is among the known ones.

    Raises:
        InputError: it is not; the message lists them.
    """
    known = tuple(known)
    for name in known:
        if type(value) is type(name) and value == name:
            return name
    raise unknown_name(what, value, known)


def names_of(what: str, values: Any, known: Iterable[str]) -> tuple[str, ...]:
    """One or several names, each once, in the order of the known ones.

    Raises:
        InputError: there are none, or one is unknown.
    """
    known = tuple(known)
    names = {name_of(what, value, known) for value in several(values)}
    if not names:
        raise InputError(f"no {what}", f"at least one of {', '.join(map(repr, known))}", f"Name a {what}.")
    return tuple(name for name in known if name in names)


def stream(value: object) -> str:
    """The name of a stream."""
    return name_of("stream", value, STREAMS)


def streams(values: Any) -> tuple[str, ...]:
    """One or several streams, in the vocabulary's order."""
    return names_of("stream", values, STREAMS)


def branches(values: Any) -> tuple[str, ...]:
    """One or several branches, in the vocabulary's order."""
    return names_of("branch", values, BRANCHES)


def site(value: object) -> str:
    """The name of a site."""
    return name_of("site", value, SITES)


def sites(values: Any) -> tuple[str, ...]:
    """One or several sites, in the order in which a block passes them."""
    return names_of("site", values, SITES)


def statistic(value: object) -> str:
    """The name of a statistic by which channels can be ranked."""
    return name_of("statistic", value, STATISTICS)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)


def whole_number(what: str, value: Any, least: int = 1, most: int | None = None, of: str = "") -> int:
    """A whole number from ``least`` to ``most``.

    Args:
        what: the argument's name.
        value: what was passed.
        least: smallest number allowed.
        most: largest number allowed; None for no limit.
        of: words after the limit, such as `` (the channels there are)``.

    Raises:
        InputError: it is another number, or none.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        limit = f"from {least}" if most is None else f"from {least} to {most}{of}"
        raise InputError(f"{what}={value!r}", f"a whole number {limit}", f"Pass another {what}=.")
    return int(value)


def whole_numbers(what: str, values: Any) -> tuple[int, ...]:
    """One or several whole numbers.

    Raises:
        InputError: there are none, or one is no whole number.
    """
    numbers = several(values)
    if not numbers or not all(map(is_whole, numbers)):
        raise InputError(
            f"{what}={values!r}", "one or more whole numbers", f"Pass numbers, or leave {what}= out."
        )
    return tuple(int(number) for number in numbers)


def finite_number(what: str, value: Any) -> float:
    """A finite real number.

    Raises:
        InputError: it is NaN, infinite, or no number.
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(value):
        raise InputError(f"{what}={value!r}", "a finite number", f"Pass {what}=0.5, say.")
    return float(value)


def prompts(values: Any) -> list[str]:
    """One or several prompts as a list.

    Raises:
        InputError: there are none, or one is not a non-empty string.
    """
    texts = list(several(values))
    wrong = [prompt for prompt in texts if not (isinstance(prompt, str) and prompt.strip())]
    if wrong or not texts:
        bad = f"prompts {wrong!r}" if wrong else "no prompts"
        raise InputError(bad, "one or more non-empty strings", "Correct the list of prompts.")
    return texts


def seeds(values: Any) -> list[int]:
    """One or several seeds as a list.

    Raises:
        InputError: there are none, one is no integer of 64 bits, or one comes twice.
    """
    numbers = list(several(values))
    fits = all(is_whole(seed) and -(2**63) <= seed < 2**63 for seed in numbers)
    if not numbers or not fits or len(set(numbers)) != len(numbers):
        raise InputError(
            f"seeds {numbers!r}", "one or more different integers of 64 bits", "Pass seeds=range(4), say."
        )
    return [int(seed) for seed in numbers]


class NamedBlock(Protocol):
    """What a block is addressed by, beside its position in a sequence of blocks."""

    @property
    def name(self) -> str:
        """Such as ``single.5``."""

    @property
    def kind(self) -> str:
        """Such as ``single``."""

    @property
    def index(self) -> int:
        """Position in the model's execution order."""


Address = int | str | NamedBlock
"""A block: itself, an index, a negative index counting from the last, a name (``single.5``) or a kind (``single``)."""

AnyBlock = TypeVar("AnyBlock", bound=NamedBlock)


def find_blocks(
    blocks: Sequence[AnyBlock], wanted: Address | Iterable[Address] | None = None
) -> list[AnyBlock]:
    """The wanted blocks, each once, in execution order: the one resolver of every ``blocks=``.

    Args:
        blocks: all blocks of a model, or those that were recorded, in execution order.
        wanted: one address or several; None for all blocks. An index is the block's own, in the model;
            a negative index counts from the last of ``blocks``.

    Raises:
        InputError: none is wanted, or an address is not one or stands for no block there is.
    """
    if wanted is None:
        return list(blocks)
    positions: set[int] = set()
    for address in block_addresses(wanted):
        matching = _positions(blocks, address)
        if not matching:
            kinds = ", ".join(dict.fromkeys(block.kind for block in blocks))
            raise InputError(
                f"block {address!r}",
                f"an index from {blocks[0].index} to {blocks[-1].index}, a negative index from {-len(blocks)}, "
                f"a name from {blocks[0].name} to {blocks[-1].name}, or a kind of {kinds}",
                "Pass one that is there; see dit.blocks, or the cache's blocks.",
            )
        positions.update(matching)
    return [blocks[position] for position in sorted(positions)]


def block_addresses(wanted: Address | Iterable[Address]) -> tuple[int | str, ...]:
    """The addresses, when the model they are meant for is not known yet; a block of one gives its index.

    Raises:
        InputError: there are none, or one is neither a block, a whole number nor text.
    """
    given = (wanted,) if hasattr(wanted, "kind") else several(wanted)
    addresses = tuple(block.index if hasattr(block, "kind") else block for block in given)
    if not addresses:
        raise InputError("no blocks", "at least one", "Leave blocks= out for all.")
    for address in addresses:
        if not isinstance(address, str) and not is_whole(address):
            raise InputError(
                f"block {address!r}",
                "an index, a name such as single.5, or a kind such as single",
                "Pass blocks='single', say.",
            )
    return tuple(address if isinstance(address, str) else int(address) for address in addresses)


def _positions(blocks: Sequence[NamedBlock], address: int | str) -> list[int]:
    if isinstance(address, str):
        return [position for position, block in enumerate(blocks) if address in (block.name, block.kind)]
    if address < 0:
        return [len(blocks) + address] if address >= -len(blocks) else []
    return [position for position, block in enumerate(blocks) if block.index == address]


def find_steps(steps: Sequence[int], wanted: Any = None) -> list[int]:
    """The wanted steps, each once and in order: the one resolver of every ``steps=``.

    Args:
        steps: the steps that a run makes, or those that were recorded, in increasing order.
        wanted: one index or several into the scheduler's timesteps; a negative one counts from the last of
            ``steps``. None for all.

    Raises:
        InputError: none is wanted, or one is not there.
    """
    if wanted is None:
        return list(steps)
    chosen: set[int] = set()
    for step in whole_numbers("steps", wanted):
        if step not in steps and not -len(steps) <= step < 0:
            whole = steps[-1] - steps[0] == len(steps) - 1
            named = f"steps {steps[0]} to {steps[-1]}" if whole else f"one of {', '.join(map(str, steps))}"
            raise InputError(f"step {step}", f"{named}, or -{len(steps)} to -1", "Pass a step that is there.")
        chosen.add(step if step in steps else steps[step])
    return sorted(chosen)
