"""Channels that are chosen where an edit acts, for every image, from what is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch

from ditscope import checks
from ditscope.channels.json_form import JsonForm

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit

NewValues = Callable[["EditContext"], torch.Tensor]
"""What an edit puts in place of old values, ``[row, token, channel]``."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is chosen at a place.

    Attributes:
        channels: bool ``[row, channel]``, of all channels.
        wanted: for channels that match others, the others' amount, ``[row]``; None otherwise.
    """

    channels: torch.Tensor
    wanted: torch.Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveChannels(JsonForm, ABC):
    """Channels of one stream that are chosen where an edit acts; in an edit they stand wherever a ChannelSet does.

    Attributes:
        stream: ``image`` or ``text``.
        control: whether an edit of them is a control.
        k: how many; 0 where that depends on the place.
    """

    stream: str = "image"
    control: bool = True
    k: int = 0

    kept: ClassVar[tuple[str, ...]] = ()
    """As of a ChannelSet: dimensions that it has one entry for."""

    def __post_init__(self) -> None:
        checks.stream(self.stream)
        checks.name_of("control", self.control, (True, False))

    @property
    @abstractmethod
    def label(self) -> str:
        """Which channels, in words."""

    @abstractmethod
    def choose(self, edit: Edit, context: EditContext, new_values: NewValues) -> Chosen:
        """The channels at a place.

        Args:
            edit: the edit whose channels these are.
            context: the place, with all channels.
            new_values: what the edit does there.
        """

    @abstractmethod
    def check(self, edit: Edit, width: int, steps: Sequence[int]) -> None:
        """Refuse, before a run, what a model of ``width`` channels or these steps do not have.

        Raises:
            InputError: naming it.
        """

    @property
    def matched(self) -> str:
        """What of other channels these match; "" where they match none."""
        return ""

    @property
    def blocks(self) -> list[int | str] | None:
        """Indices of the blocks in which there are such channels; None for any block."""
        return None

    @property
    def draws(self) -> int:
        """Number of random draws."""
        return 1

    def draw(self, number: int) -> Self:
        """The channels of one draw."""
        checks.whole_number("draw", number, least=0, most=self.draws - 1)
        return self


def narrowed(edit: Edit, context: EditContext, new_values: NewValues) -> tuple[EditContext, Chosen | None]:
    """The context in which an edit acts on the channels that are chosen there alone, and what was chosen."""
    if not isinstance(edit.channels, LiveChannels):
        return context, None
    chosen = edit.channels.choose(edit, context, new_values)
    acts = (~chosen.channels if edit.spares_channels else chosen.channels)[:, None]
    return replace(context, acts=acts if context.acts is None else context.acts & acts), chosen
