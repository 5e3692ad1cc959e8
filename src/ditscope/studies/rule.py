"""What decides on a claim, as data written before the run: quantities, and where their intervals have to lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import xarray as xr

from ditscope.errors import InputError
from ditscope.intervals import LEVEL, Interval, interval_over

__all__ = ["Decision", "Quantity", "Rule"]

SUPPORTED, REFUTED, UNDECIDED = VERDICTS = ("supported", "refuted", "undecided")

Range = tuple[float, float]


@dataclass(frozen=True)
class Quantity:
    """A number that a rule looks at, and where its whole interval has to lie for and against the claim.

    Attributes:
        name: what it is called in results.
        words: what it is, in a phrase.
        supports: ``(low, high)``, infinite where there is no end: an interval within supports the claim.
        refutes: such ranges: an interval within any of them refutes it. Between them it is undecided.
        unit: of the number.
        limits: as of :func:`ditscope.intervals.bootstrap_mean`: ``(-1, 1)`` for a change of right and wrong.
        smallest_effect: the least that is of interest: how far beyond a threshold the truth is to be found, from which
            the number of prompts follows by the pilot's spread; None where it does not matter.
    """

    name: str
    words: str
    supports: Range
    refutes: tuple[Range, ...]
    unit: str = ""
    limits: Range | None = None
    smallest_effect: float | None = None

    def __post_init__(self) -> None:
        low, high = self.supports
        for other in (self.supports, *self.refutes):
            if not other[0] < other[1]:
                raise InputError(
                    f"{self.name} in {other}", "a range (low, high)", "Give the smaller end first."
                )
        if any(each[0] < high and low < each[1] for each in self.refutes):
            raise InputError(
                f"{self.name}: {self.refutes} against and {self.supports} for the claim",
                "ranges that do not overlap",
                "Leave room between them, where it is undecided.",
            )

    @classmethod
    def above(
        cls, name: str, words: str, threshold: float, *, refuted_below: float | None = None, **more: Any
    ) -> Self:
        """One that supports the claim above a threshold, and refutes it below it, or below a lower one."""
        against = threshold if refuted_below is None else refuted_below
        return cls(name, words, (threshold, math.inf), ((-math.inf, against),), **more)

    @classmethod
    def below(
        cls, name: str, words: str, threshold: float, *, refuted_above: float | None = None, **more: Any
    ) -> Self:
        """One that supports the claim below a threshold, and refutes it above it, or above a higher one."""
        against = threshold if refuted_above is None else refuted_above
        return cls(name, words, (-math.inf, threshold), ((against, math.inf),), **more)

    @classmethod
    def within(cls, name: str, words: str, low: float, high: float, **more: Any) -> Self:
        """One that supports the claim between two thresholds ("as good as none"), and refutes it beyond either."""
        return cls(name, words, (low, high), ((-math.inf, low), (high, math.inf)), **more)

    def verdict(self, low: float, high: float) -> str:
        """``supported``, ``refuted`` or ``undecided``; the latter where there is no interval, or one that ends on a
        threshold, as that of equal values does.
        """
        if any(_within(low, high, against) for against in self.refutes):
            return REFUTED
        return SUPPORTED if _within(low, high, self.supports) else UNDECIDED

    @property
    def condition(self) -> str:
        """What it has to be for and against the claim, in words."""
        against = " or ".join(map(_words, self.refutes))
        return f"supports {_words(self.supports)}, refutes {against}"


@dataclass(frozen=True)
class Rule:
    """When a claim is supported, refuted, or neither.

    Attributes:
        quantities: what is looked at.
        needs: ``all``: supported if every quantity supports it, refuted if one refutes it; ``any``: supported if one
            supports it, refuted if every one refutes it. Else it is undecided.
        level: in which share of studies all intervals cover.
    """

    quantities: tuple[Quantity, ...]
    needs: str = "all"
    level: float = LEVEL

    def __post_init__(self) -> None:
        names = [each.name for each in self.quantities]
        if not names or len(set(names)) < len(names) or self.needs not in ("all", "any"):
            raise InputError(
                f"quantities {', '.join(names) or 'none'} of which the rule needs {self.needs!r}",
                "one or more, of different names, of which it needs 'all' or 'any'",
                "Write the rule again.",
            )

    @property
    def each_level(self) -> float:
        """Level of one interval that is made by itself, with which all hold together (Bonferroni)."""
        return 1 - (1 - self.level) / len(self.quantities)

    @property
    def sentence(self) -> str:
        """The rule in a sentence."""
        every = "every one of them supports it" if self.needs == "all" else "one of them supports it"
        one = "one refutes it" if self.needs == "all" else "every one of them refutes it"
        if len(self.quantities) == 1:
            return "The claim is supported or refuted as its one quantity says, and else undecided."
        return f"The claim is supported if {every}, refuted if {one}, and else undecided."

    def decide(self, measured: Mapping[str, xr.DataArray | Interval]) -> Decision:
        """The verdict on what was measured.

        Args:
            measured: by name of the quantity, its values ``[sample]`` with the coordinate ``prompt``, by which they are
                drawn; or, of what is no mean over samples, its own interval, of :attr:`each_level`.

        Raises:
            InputError: other quantities than the rule's.
        """
        names = [each.name for each in self.quantities]
        if set(measured) != set(names):
            raise InputError(
                f"measured: {', '.join(measured)}", ", ".join(names), "Measure what the rule names."
            )
        intervals = self._intervals(measured)
        each = [
            (quantity, interval, quantity.verdict(float(interval.low), float(interval.high)))
            for quantity, interval in zip(self.quantities, intervals, strict=True)
        ]
        verdicts = {verdict for _, _, verdict in each}
        every, one = (SUPPORTED, REFUTED) if self.needs == "all" else (REFUTED, SUPPORTED)
        verdict = every if verdicts == {every} else one if one in verdicts else UNDECIDED
        return Decision(
            verdict,
            tuple(
                {
                    "name": quantity.name,
                    "words": quantity.words,
                    "unit": quantity.unit,
                    **{part: _number(getattr(interval, part)) for part in ("mean", "low", "high")},
                    "verdict": said,
                    "condition": quantity.condition,
                    "supports": _ends(quantity.supports),
                    "refutes": [_ends(against) for against in quantity.refutes],
                }
                for quantity, interval, said in each
            ),
        )

    def _intervals(self, measured: Mapping[str, xr.DataArray | Interval]) -> list[Interval]:
        values = [measured[each.name] for each in self.quantities]
        arrays = [value for value in values if isinstance(value, xr.DataArray)]
        if (
            len(arrays) == len(values)
            and _same_samples(arrays)
            and not any(q.limits for q in self.quantities)
        ):
            stacked = xr.concat(arrays, "quantity", join="exact")
            found = interval_over(stacked, level=self.level, together="quantity")
            return [_at(found.isel(quantity=row)) for row in range(len(values))]
        return [
            value
            if isinstance(value, Interval)
            else _at(interval_over(value, level=self.each_level, limits=quantity.limits))
            for quantity, value in zip(self.quantities, values, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; ends without a bound are None."""
        return {
            "needs": self.needs,
            "level": self.level,
            "quantities": [
                {
                    "name": each.name,
                    "words": each.words,
                    "unit": each.unit,
                    "supports": _ends(each.supports),
                    "refutes": [_ends(against) for against in each.refutes],
                    "limits": each.limits and list(each.limits),
                    "smallest_effect": each.smallest_effect,
                }
                for each in self.quantities
            ],
        }


@dataclass(frozen=True)
class Decision:
    """What a rule says of what was measured.

    Attributes:
        verdict: ``supported``, ``refuted`` or ``undecided``.
        quantities: of each, JSON values: ``name``, ``words``, ``unit``, ``mean``, ``low``, ``high``, ``verdict``,
            ``condition``, and the ranges ``supports`` and ``refutes``.
    """

    verdict: str
    quantities: tuple[dict[str, Any], ...]


def _same_samples(arrays: Sequence[xr.DataArray]) -> bool:
    first, *others = arrays
    return all(first[name].equals(other[name]) for other in others for name in ("sample", "prompt"))


def _at(found: xr.Dataset) -> Interval:
    return Interval(*(found[part].values for part in Interval._fields))


def _within(low: float, high: float, ends: Range) -> bool:
    return (low > ends[0] or math.isinf(ends[0])) and (high < ends[1] or math.isinf(ends[1]))


def _words(ends: Range) -> str:
    low, high = ends
    if math.isinf(low):
        return f"below {high:g}"
    return f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"


def _ends(ends: Range) -> list[float | None]:
    return [_number(end) for end in ends]


def _number(value: Any) -> float | None:
    """As JSON takes it: None for what is no finite number."""
    return float(value) if math.isfinite(value) else None
