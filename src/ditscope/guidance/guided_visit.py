"""Carrying guidance by a degraded branch out inside a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from ditscope.edits.applying import EditedVisit
from ditscope.edits.edit import Edit
from ditscope.edits.firings import Firings
from ditscope.edits.recomputed_from import recomputed_from
from ditscope.errors import EditError
from ditscope.models.repeated_forward import RepeatedForward, require_repeatable

if TYPE_CHECKING:
    from ditscope.guidance.from_edits import Guidance
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["GuidedVisit"]


class GuidedVisit:
    """What to do at a visit so that guidance takes effect: pass it to ``run_traced`` as ``at_visit``.

    Args:
        dit: the model.
        guidance: whose edits have one draw each.
        steps: the steps that the run makes, such as ``range(20)``.
        positions: of the batch's samples among all samples of the run; counted from 0 by default.
        samples: (prompt, seed) of each, as of :class:`~ditscope.edits.applying.EditedVisit`.

    Raises:
        InputError: an edit names what the model or the run does not have.
        UnsupportedError: a block has no such site or stream; or the weights are moved in the order of one forward.
    """

    def __init__(
        self,
        dit: DiT,
        guidance: Guidance,
        steps: Sequence[int],
        positions: Sequence[int] | None = None,
        samples: Sequence[tuple[Any, Any]] | None = None,
    ) -> None:
        require_repeatable(dit)
        self._dit, self._w = dit, guidance.w
        sets = [edits for edits in (guidance.edits, guidance.match_norm_of) if edits is not None]
        self._degraded = [_Degraded(dit, edits, steps, positions, samples) for edits in sets]
        self._visits: list[tuple[int, float]] = []
        self._norms: list[torch.Tensor] = []

    def check(self, probe: Probe, batches: Batches = ()) -> None:
        """Refuse, before a run, what can never take effect in a probed call.

        Args:
            probe: of the very call.
            batches: (prompt, seed) of the samples of all batches of the run, where they are known.

        Raises:
            EditError: an edit can never fire, or only at steps without the guidance whose norm is matched.
            InputError: as of :meth:`~ditscope.edits.applying.EditedVisit.check`.
        """
        for degraded in self._degraded:
            degraded.edited.check(probe, batches)
        visits = [probe.schedule.visit(index) for index in range(len(probe.schedule))]
        firsts = [[degraded.first(visit) for degraded in self._degraded] for visit in visits]
        guided = [visit for visit, first in zip(visits, firsts, strict=True) if None not in first]
        for degraded in self._degraded:
            degraded.require_at(guided)

    @property
    def firings(self) -> Firings:
        """What the degraded branch's edits have done so far."""
        return self._degraded[0].edited.firings

    def __call__(self, visit: Visit) -> None:
        """Run the degraded branch of a visit that has the ``cond`` branch, and lead the output away from it."""
        firsts = [first for degraded in self._degraded if (first := degraded.first(visit)) is not None]
        if len(firsts) < len(self._degraded):
            return
        repeated = RepeatedForward(self._dit, firsts)
        with repeated.combined(lambda outputs: self._guided(visit, outputs)):
            for number, degraded in enumerate(self._degraded):
                with repeated.forward(number):
                    degraded.edited(visit)

    def _guided(self, visit: Visit, outputs: list[torch.Tensor]) -> torch.Tensor:
        """The visit's own output, its ``cond`` rows led away from the degraded ones."""
        rows = visit.slice(len(outputs[0]), "cond")
        own, *others = (output[rows].float() for output in outputs)
        changes = [own - other for other in others]
        size, norm, *wanted = (_norm(self._dit.run_state.inputs.as_tokens(each)) for each in (own, *changes))
        share = torch.where(norm > 0, wanted[0] / norm, 0) if wanted else torch.ones_like(norm)
        # Guidance without a prompt multiplies all that the cond branch gives by its scale.
        weight = (self._w / self._scale() * share).reshape(-1, *[1] * (own.ndim - 1))
        guided = outputs[0].clone()
        guided[rows] = (own + weight * changes[0]).to(guided.dtype)
        self._visits.append((visit.step, visit.sigma))
        self._norms.append(torch.stack([size, norm, share * norm]))
        return guided

    def _scale(self) -> float:
        """The scale of classifier-free guidance at this visit; 1 without it."""
        run, name = self._dit.run_state, self._dit.family.guidance.scale
        if name is None or len(run.schedule.branches) == 1:
            return 1.0
        # Where the pipeline keeps it, a callback may have changed it.
        return float(getattr(run.pipeline, name, run.full_call()[name]))

    def norms(self) -> pd.DataFrame:
        """The guidance of each visit and image of the batch.

        Columns ``step``, ``sigma``, ``row`` and three root sums of squares over latent tokens and channels, in float32:
        ``output`` of D(c), ``difference`` of D(c) - D_m(c), and ``guidance`` of what w was multiplied with: the
        difference, or the difference at the norm that it was matched to.
        """
        rows = [
            (step, sigma, row, *values)
            for (step, sigma), norms in zip(self._visits, self._norms, strict=True)
            for row, values in enumerate(norms.T.tolist())
        ]
        return pd.DataFrame(rows, columns=["step", "sigma", "row", "output", "difference", "guidance"])

    def require_fired(self) -> None:
        """Refuse a run in which an edit of a degraded branch never took effect.

        Raises:
            EditError: naming the edit.
        """
        for degraded in self._degraded:
            degraded.edited.require_fired()


class _Degraded:
    """One degraded branch: its edits, at which visits it is run, and from which block on."""

    def __init__(
        self,
        dit: DiT,
        edits: Sequence[Edit],
        steps: Sequence[int],
        positions: Sequence[int] | None,
        samples: Sequence[tuple[Any, Any]] | None,
    ) -> None:
        self.edited = EditedVisit(dit, edits, steps, positions, samples)
        self._dit, self._edits, self._steps = dit, edits, steps
        for edit in edits:
            edit.first_changed(dit.blocks)  # refuses what has no meaning in a step that is run again

    def require_at(self, guided: Sequence[Visit]) -> None:
        for edit in self._edits:
            if not any(edit.scope.branches_at(visit, self._steps) for visit in guided):
                raise EditError(
                    f"a guidance with the edit '{edit.label}' at no step of the one whose norm is matched",
                    "steps that both have",
                    "Give both the same steps= or sigmas=.",
                )

    def first(self, visit: Visit) -> int | None:
        """Index of the first block that differs from the visit's own forward; None where none does."""
        return recomputed_from(self._edits, self._dit, [visit], self._steps)[0]


def _norm(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.flatten(1).norm(dim=1)
