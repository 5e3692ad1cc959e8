"""Put another run's values in place of a run's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch

from ditscope import checks
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.patch_source import PatchSource
from ditscope.edits.recorded_source import RecordedSource
from ditscope.edits.schedule import Strength, strength, strength_at
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["Patch", "patch"]


PARTS = ("whole", "constant", "variation")

_CHOICE = {"sample": None, "match": "step", "interpolate": False}
"""How a recorded source is chosen from, by default."""


class Patch(Edit):
    """Values of another run in place of the run's own, or a blend of both.

    Attributes:
        source: where the values come from.
        alpha: share of the way to the source's values; a number, or pairs (sigma, number).
        part: ``whole``, or the ``constant`` or ``variation`` over the tokens on which it acts.
    """

    source: PatchSource
    alpha: Strength = 1.0
    part: str = "whole"

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.name_of("part", self.part, PARTS)
        object.__setattr__(self, "alpha", strength("alpha", self.alpha))

    verb: ClassVar[str] = "patch"

    @property
    def words(self) -> str:
        """Such as ``patch 0.5 from source.zarr into``."""
        part = "by schedule "
        if isinstance(self.alpha, float):
            part = f"{self.alpha:g} " if self.alpha != 1 else ""
        part += f"{self.part} " * (self.part != "whole")
        return f"{self.verb} {part}from {self.source.words} into"

    def values(self, context: EditContext) -> torch.Tensor:
        """``old + alpha * (source - old)`` in float32: the source's bits at alpha 1, the old ones at alpha 0."""
        alpha = strength_at(self.alpha, context.visit.sigma)
        if alpha == 0:
            return context.old
        taken = self.source.values(context)
        if self.part != "whole":
            shift = replace(context, old=taken).token_mean() - context.token_mean()
            taken = context.old + shift if self.part == "constant" else taken - shift
        return taken if alpha == 1 else context.old + alpha * (taken - context.old)

    def acts_on(self, sample: tuple[Any, Any]) -> bool:
        """Whether the source has values for a sample."""
        return self.source.acts_on(sample)

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, a source of another model, or one that lacks a place of the edit."""
        super().check(dit, steps)
        self.source.check(self, dit)

    def check_call(self, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse, before a run, sizes, branches, steps or samples that the source does not have."""
        super().check_call(dit, probe, batches)
        self.source.check_call(self, dit, probe, batches)


def patch(
    source: Any,
    channels: Any = None,
    *,
    sample: Any = None,
    alpha: Any = 1.0,
    match: str = "step",
    interpolate: bool = False,
    part: str = "whole",
    **where: Unpack[Where],
) -> Patch:
    """Put the values that another run had at the same place in place of the run's own.

    The same place is the same step, branch, block, stream, site, token and channel. Of a cache, a visit's slice of
    one block is read at a time. Text tokens go by their position: where the edit acts on all of them, source and
    run must have as many.

    Args:
        source: a cache (:func:`ditscope.open_cache`), a capture (:func:`ditscope.capture`), or
            :class:`~ditscope.edits.lock_step.LockStep` for samples of the same batch.
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        sample: which sample of the source each of the run's takes: an index for all; one for each sample of the run,
            in order; ``{(prompt, seed): index}``; ``"seed"`` for the one of the same seed; or None for that of the
            same prompt and seed, or, if the source has none and is a single sample, for that.
        alpha: share of the way from the run's own value to the source's, 1 for the source's: a number; or pairs
            (sigma, number) or a DataArray ``[sigma]``, between which it is linear in the noise level.
        match: ``step`` takes the step of the same index, whose noise level must be the same; ``sigma`` takes the
            source's step of nearest noise level, of two the earlier. ``edit.source.steps_at(step, sigma)`` says which.
        interpolate: with ``match="sigma"``, interpolate linearly between the source's steps on both sides of the
            run's noise level; beyond its ends the nearest is taken.
        part: ``whole``; ``constant`` takes of the source its mean over the tokens on which the edit acts (DC, global
            tone), ``variation`` what differs from token to token (AC, layout); the other part stays the run's own.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: ``source`` is none; alpha is not finite; a source sample is not there. Before a run: the source is
            of another model, size, number of steps or noise levels, or has not all streams, sites, blocks, channels,
            branches and samples on which the edit acts.
        EditError: in a run, texts of different lengths.

    Examples:
        >>> source = ds.capture(dit, "a large red circle at the left on a plain blue background", num_inference_steps=2)
        >>> half = ds.edits.patch(source, massive, alpha=0.5, blocks="single.3")
        >>> moved = ds.compare(dit, prompts[0], 0, half, ["psnr"], num_inference_steps=2)
        >>> from_a_store = ds.edits.patch(cache, massive, sample=1, blocks="single.3")
    """
    chosen = source_of(source, sample=sample, match=match, interpolate=interpolate)
    return Patch.of(channels, where, source=chosen, alpha=alpha, part=part)


def source_of(source: Any, **choice: Any) -> PatchSource:
    """What :func:`patch` takes as a source, with its ``sample``, ``match`` and ``interpolate``.

    Raises:
        InputError: it is none, or says itself what is chosen here.
    """
    if isinstance(source, PatchSource):
        if any(choice[name] is not default for name, default in _CHOICE.items()):
            raise InputError(
                f"sample=, match= or interpolate= with {source.words}",
                "a source that says so itself",
                "Leave them out.",
            )
        return source
    return RecordedSource.of(source, **choice)
