"""The protocol of an edit: which channels, where, and what takes their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, dataclass_transform

import torch

from ditscope.channels.channel_set import ChannelSet
from ditscope.channels.json_form import JsonForm
from ditscope.checks import Address, find_blocks, find_steps
from ditscope.edits.scope import Scope
from ditscope.errors import InputError
from ditscope.models.block_streams import require_stream

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT

__all__ = ["Edit", "Where", "from_json"]


class Where(TypedDict, total=False):
    """Where an edit acts, as keyword arguments of the functions that make edits; see :class:`Scope`.

    ``control`` says whether the edit is a control; left out, it is one if its channels are one.
    """

    blocks: Address | Sequence[Address]
    steps: int | Sequence[int]
    branches: str | Sequence[str]
    stream: str
    site: str
    tokens: Any
    control: bool


@dataclass_transform(frozen_default=True, eq_default=False, kw_only_default=True)
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Edit(JsonForm, ABC):
    """An intervention on a hidden state.

    A kind of edit is a subclass with :meth:`values`; its parameters are annotated fields, and it becomes a frozen
    dataclass with keyword arguments by itself. Parameters of the types that :class:`JsonForm` names give it a
    JSON form, equality, pickling and copies.

    Attributes:
        channels: the channels, per block.
        scope: where it acts.
        control: whether it is a control, which should not have the effect under test.

    Raises:
        InputError: the channels are of another stream than the scope.
    """

    channels: ChannelSet
    scope: Scope
    control: bool | None = None

    is_control: ClassVar[bool] = False
    """Whether edits of this kind are controls whatever their channels."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        if self.control is None:
            object.__setattr__(self, "control", self.is_control or self.channels.control)
        if self.scope.stream != self.channels.stream:
            raise InputError(
                f"channels of the {self.channels.stream} stream in an edit of the {self.scope.stream} stream",
                "one stream",
                "Rank that stream, or drop stream=.",
            )

    @abstractmethod
    def values(self, context: EditContext) -> torch.Tensor:
        """What takes the place of ``context.old``: any shape that broadcasts to ``[row, token, channel]``."""

    @classmethod
    def of(cls, channels: Any, where: Where, **parameters: Any) -> Self:
        """An edit of this kind.

        Args:
            channels: a ChannelSet, or channel ids for every block or by block.
            where: parts of the scope, and ``control``.
            **parameters: the kind's own fields.

        Raises:
            InputError: channels that are none, or an unknown or empty part of the scope.
        """
        unknown = sorted(set(where) - set(Where.__annotations__))
        if unknown:
            raise InputError(
                f"scope {', '.join(unknown)}",
                f"any of {', '.join(Where.__annotations__)}",
                "One edit acts on one stream, at one site.",
            )
        scope: dict[str, Any] = dict(where)
        control = scope.pop("control", None)
        if not isinstance(channels, ChannelSet):
            channels = ChannelSet.of(channels, stream=scope.get("stream", "image"))
        scope = {"stream": channels.stream, **scope}
        return cls(channels=channels, scope=Scope(**scope), control=control, **parameters)

    @property
    def words(self) -> str:
        """What it does, in words that the channels' label follows."""
        return type(self).__name__.lower()

    @property
    def label(self) -> str:
        """What it does to which channels, in words."""
        return f"{self.words} {self.channels.label}"

    @property
    def draws(self) -> int:
        """Number of random draws of the channels."""
        return self.channels.draws

    def draw(self, number: int) -> Self:
        """The edit with the channels of one draw."""
        return replace(self, channels=self.channels.draw(number))

    def chosen(self, blocks: Sequence[Block]) -> list[Block]:
        """The blocks on which the edit acts, of a model's: they are in scope, and it has channels there.

        Raises:
            InputError: the scope or the channels name a block that the model does not have, or the scope names
                one for which there are no channels.
        """
        ranked = {block.index for block in find_blocks(blocks, self.channels.blocks)}
        named = find_blocks(blocks, self.scope.blocks)
        missing = [block.name for block in named if block.index not in ranked]
        if missing and self.scope.blocks is not None:
            raise InputError(
                f"no channels for block {', '.join(missing)}, which the edit '{self.label}' names",
                "channels for every block that is named",
                "Rank these blocks too, or take them out of blocks=.",
            )
        return [block for block in named if block.index in ranked]

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, what the model or a run that makes these steps does not have.

        Raises:
            InputError: naming the block, step or channel.
            UnsupportedError: a block has no such site or stream.
        """
        find_steps(steps, self.scope.steps)
        largest = int(self.channels.ids.max())
        if largest >= dit.width:
            raise InputError(
                f"channel {largest} in the edit '{self.label}'",
                f"channels under the model's width {dit.width}",
                "Rank the channels on this model.",
            )
        for block in self.chosen(dit.blocks):
            require_stream(block.layout, self.scope.stream, self.scope.site)

    def __repr__(self) -> str:
        return f"<Edit: {self.label}, {self.channels.k} channels a block, {self.scope}>"


def from_json(data: Any) -> Edit:
    """The edit of a plain form, equal to the one whose ``to_json`` wrote it.

    Kinds that other packages add as entry points of the group ``ditscope.edits`` are there as well.

    Raises:
        InputError: it is no plain form of an edit, or of a kind that is not there.
    """
    return Edit.from_json(data)
