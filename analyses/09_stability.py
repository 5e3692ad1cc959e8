"""Are the massive channels the same in every image and at every step?

That the ranking of channels is stable is what every use of a frozen set rests on, and is assumed rather than measured.

    python analyses/09_stability.py --out runs/09_stability
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.errors import InputError
from ditscope.intervals import interval_over
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule

KINDS = {
    "prompts": "overlap of an image's top k with that of other prompts, same block and step",
    "seeds": "overlap of the top k under two seeds of one prompt",
    "steps": "overlap of an image's top k at a step with that at the last step",
    "statistics": "overlap of the top k by mean of abs with that by abs of mean",
}


@dataclass(frozen=True)
class Stability(Claim):
    """The massive channels are the same over prompts, seeds and steps, and by either statistic."""

    name = "stability"
    claim = (
        "The massive channels of a block are the same for every prompt, seed and step, by either statistic."
    )
    source = "Assumed in Turri et al., arXiv 2605.13974; stable sets in SPARK, arXiv 2609.03813"
    design = (
        "Statistics over image tokens of every block's output at every step, for two seeds of each prompt. The top "
        "k of each image, block and step are compared by the Jaccard index: with those of the choosing prompts' "
        "mean at the same block and step; with those under the other seed; with those at the last step; and those "
        "by the mean of absolute values with those by the absolute mean, which papers use in turn. Indices are "
        "averaged over blocks and steps. Two sets that share two thirds have an index of 0.5: above it a set is "
        "called the same."
    )
    controls = ("the index of two random sets of k channels, k / (2 x width - k) and less, is reported",)
    rule = Rule(
        tuple(
            Quantity.above(kind, words, 0.5, limits=(0.0, 1.0), smallest_effect=0.05)
            for kind, words in KINDS.items()
        )
    )

    seeds: tuple[int, ...] = (0, 1)

    def __post_init__(self):
        super().__post_init__()
        if len(self.seeds) != 2:
            raise InputError(
                f"{len(self.seeds)} seeds", "two, of which one is the other's other", "Pass seeds=[0,1]."
            )

    def test(self, trial, chosen):
        """Record statistics, and compare top sets."""
        stats = trial.record("statistics", tensors=False).stats().sel(branch="cond").load()
        others = trial.statistics.stats().sel(branch="cond")["mean_abs"].load()
        if trial.pilot is None:  # of the same prompts: without the image's own
            count = others.sizes["sample"]
            reference = (others.mean("sample") * count - others) / (count - 1)
        else:
            reference = others.mean("sample")
        own = self._top(stats["mean_abs"])
        second = own.isel(sample=slice(1, None, 2)).values
        both = xr.zeros_like(own).copy(data=np.repeat(second, 2, axis=own.dims.index("sample")))
        found = {
            "prompts": _jaccard(own, self._top(reference)),
            "seeds": _jaccard(own, both).isel(sample=slice(0, None, 2)),
            "steps": _jaccard(own, own.isel(step=-1)).isel(step=slice(0, -1)),
            "statistics": _jaccard(own, self._top(abs(stats["mean"]))),
        }
        by_block = xr.concat(
            [interval_over(each.mean("step"), limits=(0.0, 1.0)) for each in found.values()],
            xr.Variable("kind", list(found)),
        )
        width = own.sizes["channel"]
        shared = np.random.default_rng(0).hypergeometric(self.k, width - self.k, self.k, 10_000)
        chance = float((shared / (2 * self.k - shared)).mean())
        table = by_block.drop_vars([n for n in by_block.coords if n not in by_block.dims])
        return Evidence(
            {kind: _plain(each.mean(["step", "block"])) for kind, each in found.items()},
            {"by_block": by_block.expand_dims(metric=["Jaccard index"])},
            {"by_block": table.to_dataframe().reset_index().round(4)},
            [
                Finding(
                    f"Two random sets of {self.k} of {width} channels have an index of {chance:.3f}.",
                    chance < 0.25,
                )
            ],
        )

    def _top(self, scores):
        order = np.argsort(-scores.transpose(..., "channel").values, axis=-1, kind="stable")[..., : self.k]
        member = np.zeros(scores.transpose(..., "channel").shape, bool)
        np.put_along_axis(member, order, True, axis=-1)
        return scores.transpose(..., "channel").copy(data=member)

    def figures(self, result):
        """Indices by block."""
        return {
            "by_block": (
                plots.grid_effects(
                    result.arrays["by_block"],
                    x="block",
                    title="Overlap of top sets by block",
                    about={"model": self.model, "k": self.k},
                ),
                "Jaccard index of top sets, averaged over steps, with intervals over prompts.",
            )
        }

    def work(self):
        """One image of every prompt and seed, all recorded as statistics."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        return Work(images, {"statistics": (images, {"tensors": False})})


def _jaccard(one, other):
    both = (one & other).sum("channel")
    return both / ((one | other).sum("channel"))


def _plain(values):
    return values.drop_vars([n for n in values.coords if n not in ("sample", "prompt", "seed")])


if __name__ == "__main__":
    run_claim(Stability)
