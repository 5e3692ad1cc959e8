"""Put what a function of one's own returns in place of channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Unpack

import torch

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.errors import InputError

__all__ = ["Function", "function"]


class Function(Edit):
    """What a function returns in place of channels. Two are equal if they are of the same function."""

    call: Callable[[EditContext], torch.Tensor]
    name: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.call) or not isinstance(self.name, str):
            raise InputError(
                f"a {type(self.call).__name__} with label {self.name!r}",
                "a function of the context, with a label of text",
                "Pass function([3], lambda context: context.old * 2), say.",
            )

    @property
    def words(self) -> str:
        """The function's name."""
        return self.name

    def values(self, context: EditContext) -> torch.Tensor:
        """What the function returns."""
        return self.call(context)

    def to_json(self) -> dict[str, Any]:
        """There is no plain form of a function.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the edit '{self.label}' by a function of one's own, to be written as JSON",
            "an edit of values alone",
            "Make it a kind of edit: a subclass of ditscope.edits.Edit.",
        )

    def _parts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())


def function(
    channels: Any,
    call: Callable[[EditContext], torch.Tensor],
    *,
    label: str | None = None,
    **where: Unpack[Where],
) -> Function:
    """Put what a function returns in place of channels; scope, firing record and energies come with it.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        call: takes an :class:`~ditscope.edits.context.EditContext`, whose ``old`` are the values float32
            ``[row, token, channel]``, and returns what takes their place, in any shape that broadcasts to theirs.
            It is pickled and copied as such; it has no JSON form.
        label: what to call it; the function's own name by default.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``call`` cannot be called, or an unknown or empty part of the scope.

    Examples:
        >>> ds.edits.function([3, 77], lambda context: context.old.round(), label="round", blocks="single").label
        'round explicit channels'
    """
    name = getattr(call, "__name__", type(call).__name__) if label is None else label
    return Function.of(channels, where, call=call, name=name)
