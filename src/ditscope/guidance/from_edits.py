"""Guidance by the difference to a degraded branch: the same network with its hidden states edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ditscope import checks
from ditscope.channels.json_form import JsonForm
from ditscope.edits.edit import Edit
from ditscope.errors import InputError
from ditscope.guidance.guided_visit import GuidedVisit
from ditscope.models.run_state import GUIDANCE

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

__all__ = ["Guidance", "from_edits"]


@dataclass(frozen=True, eq=False, repr=False)
class Guidance(JsonForm):
    """Guidance by a degraded branch: D(c) + w (D(c) - D_m(c)), with D_m the network under edits.

    D is the transformer's output of the ``cond`` branch. With classifier-free guidance of scale s the pipeline goes on
    with D(c) + (s - 1) (D(c) - D(0)) + w (D(c) - D_m(c)): what it combines is D(c) + w / s (D(c) - D_m(c)) and D(0).
    Qwen-Image, and Lumina2 by default, then scale the combination to the norm of the first of the two.

    ``ds.compare`` and ``ds.sweep`` take it under a name beside edits. As a context, it guides what
    ``dit.generate_images`` makes in it, and every other run in it is refused.

    Attributes:
        edits: what makes the degraded branch; it is run at the steps of their scopes.
        w: weight of the difference.
        match_norm_of: edits of another degraded branch, whose difference gives each row and visit the norm, over all
            latents, that this one's difference is scaled to; the guidance is at the steps of both.

    Raises:
        InputError: no edits, an edit of the ``uncond`` branch, or ``w`` is no finite number.

    Examples:
        >>> with ds.guidance.detail(massive, w=2.0, block="double.2"):
        ...     images = dit.generate_images(prompts[0], 0, num_inference_steps=2)
    """

    edits: tuple[Edit, ...]
    w: float
    match_norm_of: tuple[Edit, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "w", checks.finite_number("w", self.w))
        for name in ("edits", "match_norm_of"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _conditional(name, getattr(self, name)))

    @property
    def label(self) -> str:
        """What the model is led away from, in words."""
        degraded = " and ".join(edit.label for edit in self.edits)
        return ", ".join(filter(None, (f"guidance w={self.w:g} from {degraded}", self.matched_to)))

    @property
    def matched_to(self) -> str:
        """What the difference is scaled to, in words; "" where it is left alone."""
        matched = self.match_norm_of
        return f"norm of {' and '.join(edit.label for edit in matched)}" if matched else ""

    @property
    def draws(self) -> int:
        """Number of runs: the most draws that an edit has."""
        return max(edit.draws for edit in (*self.edits, *(self.match_norm_of or ())))

    def draw(self, number: int) -> Self:
        """The guidance of one run; an edit with fewer draws begins again with its first."""
        matched = self.match_norm_of
        return replace(
            self,
            edits=_drawn(self.edits, number),
            match_norm_of=None if matched is None else _drawn(matched, number),
        )

    def visitor(self, dit: DiT, steps: Sequence[int], **batch: Any) -> GuidedVisit:
        """What to do at each visit; arguments and errors as of :class:`GuidedVisit`."""
        return GuidedVisit(dit, self, steps, **batch)

    def __enter__(self) -> Self:
        if GUIDANCE.get() is not None:
            raise InputError(
                f"{self!r} inside of {GUIDANCE.get()!r}", "one guidance", "Pass all edits to one from_edits."
            )
        if self.draws > 1:
            raise InputError(
                f"{self!r} of {self.draws} draws", "one draw", "Take one with guidance.draw(0), say."
            )
        GUIDANCE.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        GUIDANCE.set(None)

    def __repr__(self) -> str:
        return f"<Guidance: {self.label}>"


def from_edits(
    edits: Edit | Sequence[Edit], w: float, *, match_norm_of: Guidance | Edit | Sequence[Edit] | None = None
) -> Guidance:
    """Guidance away from what the model makes under edits, of any kind in :mod:`ditscope.edits`.

    Beside :func:`ditscope.guidance.detail`, degraded branches of the same norm show what is its own.

    Args:
        edits: one or several, applied together; of the ``cond`` branch, which is what they act on if their scope has
            no branches.
        w: weight of the difference D(c) - D_m(c).
        match_norm_of: a guidance, or edits, whose difference has the norm that this one's is scaled to.

    Raises:
        InputError: no edits, an edit of the ``uncond`` branch, or ``w`` is no finite number.

    Examples:
        >>> detail = ds.guidance.detail(massive, w=2.0, block="double.2")
        >>> blur = ds.edits.blur(None, 1.5, blocks="double.2")
        >>> blurred = ds.guidance.from_edits(blur, w=2.0, match_norm_of=detail)
        >>> perturbed = ds.guidance.perturbed_attention(2.0, blocks="double.2", match_norm_of=detail)
    """
    if isinstance(match_norm_of, Guidance):
        match_norm_of = match_norm_of.edits
    matched = None if match_norm_of is None else _conditional("match_norm_of", match_norm_of)
    return Guidance(_conditional("edits", edits), w, matched)


def _drawn(edits: Sequence[Edit], number: int) -> tuple[Edit, ...]:
    return tuple(edit.draw(number % edit.draws) for edit in edits)


def _conditional(name: str, edits: Any) -> tuple[Edit, ...]:
    """Edits of the ``cond`` branch alone."""
    several = tuple(edits) if isinstance(edits, list | tuple) else (edits,)
    if not several or not all(isinstance(edit, Edit) for edit in several):
        raise InputError(f"{name}={edits!r}", "an edit or several", "Make them with ditscope.edits.")
    for edit in several:
        if "uncond" in (edit.scope.branches or ()):
            raise InputError(
                f"{name} with the edit '{edit.label}' in branch uncond",
                "edits of the cond branch, whose output is led away from the degraded one",
                "Leave branches= out.",
            )
    return tuple(replace(edit, scope=replace(edit.scope, branches=("cond",))) for edit in several)
