"""Does zeroing massive channels act through what they carry, through LayerNorm, or as the loss of a constant?

Removing a channel of great size lets the next LayerNorm enlarge all others. And a channel that is much the same at all
tokens is a bias: its mean would serve as well. Nobody published either control for these models.

    python analyses/04_layernorm_or_content.py --out runs/04_layernorm_or_content
"""

from __future__ import annotations

from dataclasses import dataclass

import ditscope as ds
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.comparison_figures import comparison_arrays, comparison_figures
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table, judge_finding, meaning_metrics
from ditscope.studies.rule import Quantity, Rule

DAMAGE = "feature_distance"


@dataclass(frozen=True)
class LayernormOrContent(Claim):
    """Zeroing massive channels harms by what they say of tokens."""

    name = "layernorm_or_content"
    claim = (
        "Zeroing massive channels harms by what they say of tokens, not by LayerNorm, nor as a lost constant."
    )
    source = "Open in Turri et al. (arXiv 2605.13974) and Gan et al. (2510.11538); the mean: Sun et al. (2402.17762)"
    design = (
        "At the output of the block in the middle, in every step, the k massive channels are set to zero; to zero "
        "while the next block's LayerNorm keeps the statistics of the unedited state, so that no other channel is "
        "rescaled; to their own mean over tokens; and to the mean that they have at that step over the choosing "
        "prompts, which says nothing of the image at all. Damage is the distance of image features to the unedited "
        "image. The rule takes what is left of the damage of zeroing beyond half of it: more than half has to stay "
        "with LayerNorm frozen, and more than half with the mean in place of zero."
    )
    controls = (
        "zero with LayerNorm frozen",
        "each image's own mean over tokens in place of zero",
        "the mean over the choosing prompts at that step, in place of zero",
    )
    rule = Rule(
        (
            Quantity.above(
                "frozen",
                "damage with LayerNorm frozen, less half of that of zero",
                0.0,
                smallest_effect=0.1,
            ),
            Quantity.above(
                "variation", "damage of the own mean, less half of that of zero", 0.0, smallest_effect=0.1
            ),
        )
    )

    def test(self, trial, chosen):
        """Compare the edits."""
        ranking, where = trial.ranking(), {"blocks": [trial.block_at(0.5)]}
        massive = ranking.top(self.k)
        means = trial.statistics.stats()["mean"].sel(branch="cond").mean("sample")
        edits = {
            "zero": ds.edits.zero(massive, **where),
            "zero, LayerNorm frozen": ds.edits.zero(massive, freeze_layernorm=True, **where),
            "own mean": ds.edits.mean(massive, **where),
            "mean of other prompts": ds.edits.mean(massive, calibration=means, **where),
        }
        compared = trial.compare("edits", edits, (DAMAGE, "psnr", *meaning_metrics(self)))
        damage = effect_of(compared, DAMAGE)
        half = damage.sel(edit="zero", drop=True) / 2
        return Evidence(
            {
                "frozen": damage.sel(edit="zero, LayerNorm frozen", drop=True) - half,
                "variation": damage.sel(edit="own mean", drop=True) - half,
            },
            comparison_arrays(compared),
            {"effects": effects_table(compared)},
            [judge_finding(self, compared)],
        )

    def figures(self, result):
        """Effects and images."""
        return comparison_figures(self, result, metrics=[DAMAGE, "psnr", meaning_metrics(self)[0]])

    def work(self):
        """One unedited image and four edited ones of each prompt."""
        every, seeds = self.n_choosing + self.n_most, len(self.seeds)
        kept = {"statistics": (self.n_choosing * seeds, {"tensors": False})}
        return Work((self.n_choosing + 5 * every) * seeds, kept)


if __name__ == "__main__":
    run_claim(LayernormOrContent)
