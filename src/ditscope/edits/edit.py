"""The protocol of an edit: which channels, where, and what takes their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, dataclass_transform

import torch
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.channels.json_form import JsonForm
from ditscope.checks import Address, find_blocks, find_steps
from ditscope.edits.acting_channels import require_channels
from ditscope.edits.live_channels import LiveChannels
from ditscope.edits.matched_channels import MatchedChannels
from ditscope.edits.own_sample import own_sample
from ditscope.edits.scope import Scope
from ditscope.edits.tokens import tokens_at
from ditscope.errors import InputError
from ditscope.models.block_streams import require_stream
from ditscope.models.reading_norm import require_norm
from ditscope.vocabulary import BLOCK_ENDS

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.models.block import Block
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["Edit", "Where", "from_json"]


class Where(TypedDict, total=False):
    """Where an edit acts, as keyword arguments of the functions that make edits; see :class:`Scope`.

    ``control`` says whether the edit is a control; left out, it is one if its channels are one. ``freeze_layernorm``
    is described at :class:`Edit`.
    """

    blocks: Address | Sequence[Address]
    steps: int | Sequence[int]
    sigmas: tuple[float, float]
    branches: str | Sequence[str]
    stream: str
    site: str
    tokens: Any
    control: bool
    freeze_layernorm: bool


@dataclass_transform(frozen_default=True, eq_default=False, kw_only_default=True)
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Edit(JsonForm, ABC):
    """An intervention on a hidden state.

    A kind of edit is a subclass with :meth:`values`; its parameters are annotated fields, and it becomes a frozen
    dataclass with keyword arguments by itself. Parameters of the types that :class:`JsonForm` names give it a
    JSON form, equality, pickling and copies.

    Attributes:
        channels: the channels, per block, and per step and sample where the set has such dims; or what chooses them
            at every place; None for all.
        scope: where it acts.
        control: whether it is a control, which should not have the effect under test.
        freeze_layernorm: whether the normalisation that reads the edited hidden state next takes its mean and
            deviation from the hidden state as it was: what an edit does by its content, without the rescaling of
            all other channels that taking away a large one brings (a channel of size M rescales the others by
            sqrt(1 + M^2 / (channels * rms^2))). For edits at the ends of a block.

    Raises:
        InputError: the channels are of another stream than the scope, or have dims that no run has; or LayerNorm is
            to be frozen for an edit inside a block.

    Examples:
        >>> class RoundTo(ds.edits.Edit):
        ...     step: float
        ...     def values(self, context):
        ...         return (context.old / self.step).round() * self.step
        >>> coarse = RoundTo.of(massive, {"blocks": "single.1"}, step=0.5)
    """

    channels: ChannelSet | LiveChannels | None
    scope: Scope
    control: bool | None = None
    freeze_layernorm: bool = False

    is_control: ClassVar[bool] = False
    """Whether edits of this kind are controls whatever their channels."""

    spares_channels: ClassVar[bool] = False
    """Whether edits of this kind act on all channels but those that they name."""

    looks_back: ClassVar[bool] = False
    """Whether edits of this kind are told what was at their place in an earlier step (``context.earlier``)."""

    channelwise: ClassVar[bool] = False
    """Whether what becomes of a channel depends on its own old values alone; only then can other channels be found that
    an edit changes as much."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        named = self.channels
        if self.control is None:
            control = self.is_control or (named is not None and named.control)
            object.__setattr__(self, "control", control)
        if self.freeze_layernorm and self.scope.site not in BLOCK_ENDS:
            raise InputError(
                f"freeze_layernorm at {self.scope.site}",
                f"an edit at {' or '.join(BLOCK_ENDS)}, which a normalisation reads",
                "Edit the block's end instead, or leave freeze_layernorm out.",
            )
        if named is None:
            return
        unknown = set(named.kept) - {"sample", "step", "block", "draw"}
        if unknown:
            raise InputError(
                f"channels for each {' and '.join(sorted(unknown))}",
                "channels for each block, step or sample",
                "Take one of them with channels.sel(branch='cond'), say.",
            )
        if self.scope.stream != named.stream:
            raise InputError(
                f"channels of the {named.stream} stream in an edit of the {self.scope.stream} stream",
                "one stream",
                "Rank that stream, or drop stream=.",
            )

    def look(self, block: Block) -> torch.Tensor | None:
        """What is to be read of a block before the edit's site, ``[row, token, channel]``: the context's ``looked``."""
        return None

    @abstractmethod
    def values(self, context: EditContext) -> torch.Tensor:
        """What takes the place of ``context.old``: any shape that broadcasts to ``[row, token, channel]``."""

    @classmethod
    def of(cls, channels: Any, where: Where, **parameters: Any) -> Self:
        """An edit of this kind.

        Args:
            channels: a ChannelSet, channel ids for every block or by block, or channels of :mod:`ditscope.controls`
                that are chosen at every place; None for all channels.
            where: parts of the scope, ``control`` and ``freeze_layernorm``.
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
        apart = {name: scope.pop(name) for name in ("control", "freeze_layernorm") if name in scope}
        if channels is not None and not isinstance(channels, ChannelSet | LiveChannels):
            channels = ChannelSet.of(channels, stream=scope.get("stream", "image"))
        if channels is not None:
            scope = {"stream": channels.stream, **scope}
        return cls(channels=channels, scope=Scope(**scope), **apart, **parameters)

    @property
    def words(self) -> str:
        """What it does, in words that the channels' label follows."""
        return type(self).__name__.lower()

    @property
    def label(self) -> str:
        """What it does to which channels, in words."""
        named = "all channels" if self.channels is None else self.channels.label
        return f"{self.words} {named}" + ", LayerNorm frozen" * self.freeze_layernorm

    @property
    def draws(self) -> int:
        """Number of random draws of the channels."""
        return 1 if self.channels is None else self.channels.draws

    def draw(self, number: int) -> Self:
        """The edit with the channels of one draw.

        Examples:
            >>> edit = ds.edits.zero(ranking.random(6, draws=3))
            >>> edit.draws, edit.draw(2).draws
            (3, 1)
        """
        checks.whole_number("draw", number, least=0, most=self.draws - 1)
        return self if self.channels is None else replace(self, channels=self.channels.draw(number))

    @property
    def has_grid(self) -> bool:
        """Whether what it is given is of an image's grid, which :class:`EditContext` then has."""
        return False

    def check_tokens(self, n_tokens: int, grid: tuple[int, int]) -> None:
        """Refuse, before a run, what is given for other image tokens than the run's: ``n_tokens`` on ``grid``.

        Raises:
            InputError: naming both.
        """

    @property
    def read_sites(self) -> tuple[str, ...]:
        """The sites at which hidden states are read for it: what a block adds is what it returns less what it takes."""
        both = self.looks_back and self.scope.site == "block_output"
        return BLOCK_ENDS if both else (self.scope.site,)

    def branches_read(self, visit: Visit, steps: Sequence[int]) -> tuple[str, ...]:
        """The branches of a visit that it acts on, or that it keeps something of for the step after."""
        acting = self.scope.branches_at(visit, steps)
        if acting or not self.looks_back:
            return acting
        return self.scope.branches_at(replace(visit, step=visit.step + 1), steps)

    def chosen(self, blocks: Sequence[Block]) -> list[Block]:
        """The blocks on which the edit acts, of a model's: they are in scope, and it has channels there.

        Raises:
            InputError: the scope or the channels name a block that the model does not have, or the scope names
                one for which there are no channels.
        """
        named = find_blocks(blocks, self.scope.blocks)
        if self.channels is None:
            return named
        ranked = {block.index for block in find_blocks(blocks, self.channels.blocks)}
        missing = [block.name for block in named if block.index not in ranked]
        if missing and self.scope.blocks is not None:
            raise InputError(
                f"no channels for block {', '.join(missing)}, which the edit '{self.label}' names",
                "channels for every block that is named",
                "Rank these blocks too, or take them out of blocks=.",
            )
        return [block for block in named if block.index in ranked]

    def first_changed(self, blocks: Sequence[Block]) -> int:
        """Index of the first of a model's blocks that runs otherwise in a visit in which the edit acts; errors as of
        :meth:`chosen`. From where each visit of a run is computed anew: :func:`ditscope.edits.recomputed_from`.
        """
        first = min(block.index for block in self.chosen(blocks))
        return first + (self.scope.site == "block_output")

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, what the model or a run that makes these steps does not have.

        Raises:
            InputError: naming the block, step or channel.
            UnsupportedError: a block has no such site or stream.
        """
        acting = find_steps(steps, self.scope.steps)
        require_channels(self, dit.width, acting)
        for block in self.chosen(dit.blocks):
            for step in acting:
                tokens_at(self.scope.tokens, step, block.index)
            require_stream(block.layout, self.scope.stream, self.scope.site)
            if self.freeze_layernorm:
                require_norm(dit, block, self.scope.site, self.scope.stream)

    def acts_on(self, sample: tuple[Any, Any]) -> bool:
        """Whether the edit is of a sample (prompt, seed) at all, whatever its masks and channels are."""
        return True

    def check_call(self, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse, before a run, what the call does not have, and masks and channels that lack one of its samples.

        Args:
            dit: the model.
            probe: of the call.
            batches: (prompt, seed) of the samples of each batch of the run, in order; empty where they are not known.

        Raises:
            InputError: naming it.
        """
        named = self.channels
        while isinstance(named, MatchedChannels):
            named = named.own
        labelled = {"masks": self.scope.tokens, "channels": getattr(named, "ids", None)}
        for what, array in labelled.items():
            if isinstance(array, xr.DataArray) and "sample" in array.dims:
                for position, sample in enumerate(chain(*batches)):
                    own_sample(array, sample, position, what)

    def __repr__(self) -> str:
        many = "all" if self.channels is None else f"all but {self.channels.k}"
        if self.channels is not None and not self.spares_channels:
            many = str(self.channels.k or "as many")
        return f"<Edit: {self.label}, {many} channels a block, {self.scope}>"


def from_json(data: Any) -> Edit:
    """The edit of a plain form, equal to the one whose ``to_json`` wrote it.

    Kinds that other packages add as entry points of the group ``ditscope.edits`` are there as well.

    Raises:
        InputError: it is no plain form of an edit, or of a kind that is not there.

    Examples:
        >>> edit = ds.edits.zero(massive, blocks="single.1")
        >>> ds.edits.from_json(edit.to_json()) == edit
        True
    """
    return Edit.from_json(data)
