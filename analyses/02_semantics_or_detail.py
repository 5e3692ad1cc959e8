"""Do massive channels carry the meaning of an image or its local detail?

Two papers contradict each other: zeroing massive channels destroys the image (Turri et al.), or leaves what it shows
and takes its detail (Gan et al.). They differ in how many channels are zeroed, in how many blocks, and when. The rule
is on the second paper's own case, a few channels of one block, against channels of which as much is taken; the grid
over k, blocks and steps beside it shows where the one reading turns into the other.

    python analyses/02_semantics_or_detail.py --out runs/02_semantics_or_detail
"""

from __future__ import annotations

from dataclasses import dataclass

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.comparison_figures import comparison_arrays, comparison_figures
from ditscope.studies.cost import Work
from ditscope.studies.reading import (
    effects_table,
    judge_finding,
    log_ratio,
    match_finding,
    meaning_change,
    meaning_metrics,
)
from ditscope.studies.rule import Quantity, Rule

DETAIL = "high_frequency_energy"
DEPTHS = (0.1, 0.4, 0.7, 1.0)
FEW = 2


@dataclass(frozen=True)
class SemanticsOrDetail(Claim):
    """A few massive channels of one block: detail, not meaning."""

    name = "semantics_or_detail"
    claim = "Without a few massive channels of one block an image keeps its meaning and loses local detail."
    source = "Gan et al., arXiv 2510.11538, disruption; against Turri et al., arXiv 2605.13974"
    design = (
        f"The {FEW} largest channels are zeroed at the output of one block in every step. Which block is chosen on "
        "the choosing prompts: of four, from the second to the last, the one where it takes most of the high "
        "frequencies, which favours the claim. Meaning is the share of attributes (shape, colour, size, place, "
        "background) that the oracle finds right, on other models the CLIP score; detail is the share of the image's "
        "energy over 0.25 cycles a pixel, its change taken in octaves, with its sign (-0.14 of one is a loss of 9 %). "
        "A grid of k = 1, 2 and all massive channels, in one block or all, in the first or the last half of the steps, "
        "is measured on the choosing prompts and decides nothing."
    )
    controls = (
        f"random channels that the edit changes by as much as the {FEW} massive ones, at each place of each image, in "
        "two draws",
        "all massive channels in every block, which the first paper zeroes (in the grid)",
    )
    rule = Rule(
        (
            Quantity.within(
                "meaning",
                "change of meaning (share of right attributes, or of the CLIP score)",
                -0.1,
                0.1,
                limits=(-1.0, 1.0),
                smallest_effect=0.1,
            ),
            Quantity.below(
                "detail",
                "change of high frequencies, negative where they are lost",
                -0.14,
                refuted_above=0.0,
                unit="octaves",
                smallest_effect=0.2,
            ),
            Quantity.below(
                "detail_beyond_matched",
                "the same, less that of the matched control",
                0.0,
                unit="octaves",
                smallest_effect=0.2,
            ),
        )
    )

    def choose(self, trial):
        """The block where a few channels take most of the high frequencies."""
        few = trial.ranking().top(FEW)
        blocks = sorted({trial.block_at(depth) for depth in DEPTHS})
        cells = ds.grid(lambda block: {"zero": ds.edits.zero(few, blocks=[block])}, block=blocks)
        found = trial.sweep("blocks", cells, [DETAIL])
        change = log_ratio(found, DETAIL).sel(edit="zero", drop=True).mean("sample")
        return {"block": int(change["block"][int(change.argmin("block"))])}

    def test(self, trial, chosen):
        """The rule's case; and, once, on the choosing prompts, the grid."""
        ranking, one = trial.ranking(), [chosen["block"]]
        zero = ds.edits.zero(ranking.top(FEW), blocks=one)
        metrics = (*meaning_metrics(self), DETAIL, "feature_distance", "psnr")
        compared = trial.compare(
            "case", {"few massive": zero, "matched": ds.controls.matched(zero, draws=2)}, metrics
        )
        detail = log_ratio(compared, DETAIL)
        quantities = {
            "meaning": meaning_change(compared, "few massive"),
            "detail": detail.sel(edit="few massive", drop=True),
            "detail_beyond_matched": detail.sel(edit="few massive", drop=True)
            - detail.sel(edit="matched", drop=True),
        }
        if trial.pilot is None:
            return Evidence(quantities)
        half = self.num_inference_steps // 2
        when = {"early": range(half), "late": range(half, self.num_inference_steps)}
        where = {"one block": one, "all blocks": list(range(len(trial.dit.blocks)))}

        def cell(channels, blocks, steps):
            return {
                "zero": ds.edits.zero(ranking.top(channels), blocks=where[blocks], steps=list(when[steps]))
            }

        counts = sorted({1, FEW, self.k})
        cells = trial.choosing.sweep(
            "grid", ds.grid(cell, channels=counts, blocks=list(where), steps=list(when)), metrics
        )
        grid = cells[["mean", "low", "high"]].sel(edit="zero", drop=True).load()
        return Evidence(
            quantities,
            {"grid": grid, **comparison_arrays(compared)},
            {"case": effects_table(compared), "grid": effects_table(cells)},
            [
                match_finding(compared, "matched"),
                judge_finding(self, compared),
            ],
        )

    def figures(self, result):
        """Meaning against detail in every cell, and images."""
        about = {"model": self.model, "k": self.k}
        metrics = [meaning_metrics(self)[0], DETAIL, "psnr"]
        return {
            **comparison_figures(
                self,
                result,
                effects=f"The rule's case: the {FEW} largest channels of one block, beside the matched control.",
                images="The first tested prompts in the rule's case.",
            ),
            "grid": (
                plots.grid_effects(
                    result.arrays["grid"].sel(metric=metrics),
                    title="From one channel of one block to all massive channels of all blocks",
                    about=about,
                ),
                "Effect by number of channels; one block or all, first or last half of the steps; choosing prompts.",
            ),
        }

    def work(self):
        """Four blocks to choose from; four images of every prompt; twelve cells of choosing ones, half late."""
        every, seeds = self.n_choosing + self.n_most, len(self.seeds)
        images = (1 + 1 + len(DEPTHS) + 1 + 6 + 6 * 0.5) * self.n_choosing + 4 * every
        return Work(images * seeds, {"statistics": (self.n_choosing * seeds, {"tensors": False})})


if __name__ == "__main__":
    run_claim(SemanticsOrDetail)
