"""Where an edit acts: blocks, steps, branches and tokens of one stream at one site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ditscope import checks
from ditscope.channels.json_form import JsonForm
from ditscope.checks import block_addresses
from ditscope.edits.tokens import Tokens, has_grid, token_selection
from ditscope.errors import InputError
from ditscope.vocabulary import EDITABLE_SITES, SITES

if TYPE_CHECKING:
    from ditscope.models.visits import Visit

__all__ = ["Scope"]


@dataclass(frozen=True, eq=False)
class Scope(JsonForm):
    """Where an edit acts; None means everywhere.

    Attributes:
        blocks: block indices, negative ones counting from the last, block names such as ``single.5``, or
            kinds such as ``single`` for all blocks of a kind.
        steps: step indices; negative ones count from the last step.
        sigmas: (least, largest) noise level of the steps, both included; 1 is noise, 0 the image.
        branches: ``cond``, ``uncond``.
        stream: ``image`` or ``text``.
        site: one of :data:`ditscope.vocabulary.EDITABLE_SITES`.
        tokens: a bool mask ``[y, x]``, which must be of the run's own grid, a bool mask ``[token]``, which only its
            length ties to a run, or token positions; labelled masks go by their names, and may be ``[y_pixel,
            x_pixel]`` of the image (a token is in it if half of its pixels are) or have a dim ``sample``: then each
            sample has its own, by prompt and seed where the mask has those, else by position; or dims ``step`` and
            ``block``, by their labels.

    Raises:
        InputError: a name that does not exist, an empty selection, noise levels in the wrong order, tokens that are
            neither a mask nor positions, or tokens of modulation, which has none.

    Examples:
        >>> scope = ds.edits.Scope(blocks=["single.1"], steps=range(3), branches="cond")
        >>> ds.edits.zero(massive, blocks=["single.1"], steps=range(3), branches="cond").scope == scope
        True
    """

    blocks: tuple[int | str, ...] | None = None
    steps: tuple[int, ...] | None = None
    sigmas: tuple[float, float] | None = None
    branches: tuple[str, ...] | None = None
    stream: str = "image"
    site: str = "block_output"
    tokens: Tokens | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks.stream(self.stream)
        checks.name_of("site", self.site, EDITABLE_SITES)
        normal = {
            "blocks": block_addresses,
            "steps": lambda steps: checks.whole_numbers("steps", steps),
            "sigmas": _interval,
            "branches": checks.branches,
            "tokens": token_selection,
        }
        for name, check in normal.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check(getattr(self, name)))
        if self.tokens is not None and not SITES[self.site].has_tokens:
            raise InputError(
                f"tokens at {self.site}", "a site with tokens", "Modulation is one for all of them."
            )
        if self.stream != "image" and has_grid(self.tokens):
            raise InputError(
                f"a mask of an image's grid for the {self.stream} stream",
                "the image stream, which has a grid",
                "Pass positions.",
            )

    def branches_at(self, visit: Visit, steps: Sequence[int]) -> tuple[str, ...]:
        """The branches of a visit on which the edit acts, in a run that makes these steps.

        Raises:
            InputError: the scope has a step that the run does not make.
        """
        if not self.has_step(visit.step, visit.sigma, steps):
            return ()
        return tuple(branch for branch in visit.branches if self.branches is None or branch in self.branches)

    def has_step(self, step: int, sigma: float, steps: Sequence[int]) -> bool:
        """Whether the edit acts in a step, of noise level ``sigma``, of a run that makes ``steps``.

        Raises:
            InputError: the scope has a step that the run does not make.
        """
        within = self.sigmas is None or self.sigmas[0] <= sigma <= self.sigmas[1]
        return step in checks.find_steps(steps, self.steps) and within


def _interval(sigmas: Any) -> tuple[float, float]:
    ends = list(sigmas) if isinstance(sigmas, Iterable) else [sigmas]
    if len(ends) == 2:
        least, largest = (checks.finite_number("sigmas", end) for end in ends)
        if least <= largest:
            return least, largest
    raise InputError(f"sigmas={sigmas!r}", "(least, largest) noise level", "Pass sigmas=(0.2, 0.8), say.")
