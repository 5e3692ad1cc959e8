"""Are massive channels critical to the image, or is anything critical of which as much is removed?

Zeroing a few massive channels is said to destroy the image while zeroing as many small ones does nothing. Small
channels hold almost no energy, so that comparison shows little. Here massive channels are held against random channels
of which the same edit removes as much energy in the same run, and against their own mean in place of zero.

    python analyses/01_criticality.py --out runs/01_criticality
    python analyses/01_criticality.py --model black-forest-labs/FLUX.1-dev --dtype bfloat16 --device cuda \
        --set k=12 --set num_inference_steps=28 --set batch_size=4 --out runs/01_flux
"""

from __future__ import annotations

from dataclasses import dataclass

import ditscope as ds
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.comparison_figures import comparison_arrays, comparison_figures
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table, match_finding
from ditscope.studies.rule import Quantity, Rule

METRICS = ("psnr", "ssim", "clip_score", "high_frequency_energy")


@dataclass(frozen=True)
class Criticality(Claim):
    """Zeroing massive channels damages the image more than zeroing channels of equal energy."""

    name = "criticality"
    claim = "The image hangs on a few massive channels, more than on others of equal energy."
    source = "Turri et al., arXiv 2605.13974, claim (i) disruption; reviews of Gan et al., arXiv 2510.11538"
    design = (
        "The top k channels of the image stream, ranked by `mean_abs` on the choosing prompts, are set to zero at "
        "the output of the block in the middle of the model, in every step, and the image is compared with the "
        "unedited one of the same prompt and seed. One block and not all: only there can a control be made to "
        "change as much, in the same run. PSNR to the unedited image decides; the rule takes its difference between "
        "the massive channels and each control, in dB. SSIM, CLIP score and high frequencies are reported and "
        "decide nothing. An effect of interest is 2 dB beyond a threshold: in all, half the squared error."
    )
    controls = (
        "random other channels, more than k of them, that the edit changes by as much, at each place of each image",
        "as many random channels, none of them massive",
        "as many bottom channels",
        "the massive channels at their own mean over tokens, which removes no constant",
    )
    rule = Rule(
        (
            Quantity.below(
                "against_matched",
                "PSNR, massive less random of equal edit norm",
                -1.0,
                refuted_above=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
            Quantity.below(
                "against_random",
                "PSNR, massive less as many random",
                -1.0,
                refuted_above=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
            Quantity.below(
                "against_bottom",
                "PSNR, massive less as many bottom",
                -1.0,
                refuted_above=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
        )
    )

    def test(self, trial, chosen) -> Evidence:
        """Compare the edits."""
        ranking = trial.ranking()
        massive, where = ranking.top(self.k), {"blocks": [trial.block_at(0.5)]}
        zero = ds.edits.zero(massive, **where)
        edits = {
            "zero massive": zero,
            "mean of massive": ds.edits.mean(massive, **where),
            "zero matched": ds.controls.matched(zero, draws=1),
            "zero random": ds.edits.zero(ranking.random(self.k, without=massive), **where),
            "zero bottom": ds.edits.zero(ranking.bottom(self.k), **where),
        }
        compared = trial.compare("edits", edits, METRICS)
        psnr = effect_of(compared, "psnr").clip(max=60.0)  # of equal images it is infinite

        def less(edit: str):
            return psnr.sel(edit="zero massive", drop=True) - psnr.sel(edit=edit, drop=True)

        return Evidence(
            {f"against_{name}": less(f"zero {name}") for name in ("matched", "random", "bottom")},
            comparison_arrays(compared),
            {"effects": effects_table(compared)},
            [match_finding(compared, "zero matched")],
        )

    def figures(self, result):
        """The effects, and the first images."""
        return comparison_figures(self, result)

    def work(self) -> Work:
        """One unedited image and five edited ones of each prompt."""
        prompts = self.n_choosing + self.n_most
        return Work(
            (self.n_choosing + 6 * prompts) * len(self.seeds),
            {"statistics": (self.n_choosing * len(self.seeds), {"tensors": False})},
        )


if __name__ == "__main__":
    run_claim(Criticality)
