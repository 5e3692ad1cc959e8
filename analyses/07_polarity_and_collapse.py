"""Does the sign rule find the foreground, and do masks collapse onto a few tokens?

The rule "the foreground is the cluster where the scaled channels are larger" depends on the sign of the channels,
which nothing fixes. A public attempt at reproduction failed, and two causes were suspected: polarity, and a few
extreme tokens that take a cluster for themselves. Here the side of the subject is known, so both are counted, and
other rules stand beside.

    python analyses/07_polarity_and_collapse.py --out runs/07_polarity_and_collapse
"""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule
from ditscope.studies.subject import reference_finding, reference_of

RULES = {
    "larger (the paper's)": {"polarity": "signed"},
    "larger magnitude": {"polarity": "abs"},
    "least of it on the border": {"polarity": "border"},
    "least of the border": {"polarity": "border_majority"},
    "smaller": {"polarity": "minority"},
    "larger, blocks vote": {"polarity": "signed", "vote": True},
    "least of the border, blocks vote": {"polarity": "border_majority", "vote": True},
}


@dataclass(frozen=True)
class PolarityAndCollapse(Claim):
    """The sign rule calls the subject's side the foreground, and masks do not collapse.

    Attributes:
        reference: netCDF file of reference masks, for models whose truth is not known.
    """

    name = "polarity_and_collapse"
    claim = "The foreground is where scaled massive channels are larger, and masks do not collapse onto a few tokens."
    source = (
        "Turri et al., arXiv 2605.13974, 3.2; the failed reproduction and its suspected causes in public code"
    )
    design = (
        "Masks as in 06 (the massive channels of each block, last step, K-means in two clusters after min-max), at the "
        "block where on the choosing prompts the better of mask and complement is best: there polarity is all that can "
        "be lost. A mask's side is right if it is no worse than its complement against the subject's mask. It has "
        "collapsed if one side has less than 2 % of tokens. The rule looks at the paper's sign rule alone; others, "
        "which need no truth either, are reported: by absolute values, by the border of the image, by size, and by the "
        "vote of all blocks."
    )
    controls = (
        "the better of mask and complement (oracle polarity)",
        "six other rules (reported)",
    )
    rule = Rule(
        (
            Quantity.above(
                "right",
                "share of masks whose side is right by the sign rule",
                0.9,
                refuted_below=0.75,
                limits=(0.0, 1.0),
                smallest_effect=0.15,
            ),
            Quantity.below(
                "lost",
                "IoU that the sign rule loses to oracle polarity",
                0.05,
                refuted_above=0.15,
                smallest_effect=0.1,
            ),
            Quantity.below(
                "collapsed", "share of masks that collapsed", 0.1, refuted_above=0.25, limits=(0.0, 1.0)
            ),
        )
    )

    reference: str = ""

    def choose(self, trial):
        """The block at which massive channels mark the subject best, whichever side is called the foreground."""
        study = self._study(trial, {"polarity": "signed"})
        means = study["iou_oracle"].mean(("selector", "draw", "sample"))
        return {"block": int(means["block"][int(means.argmax("block"))])}

    def test(self, trial, chosen):
        """Score the masks of every rule."""
        studies = {name: self._study(trial, options) for name, options in RULES.items()}
        every = xr.concat(
            [each.drop_vars("control") for each in studies.values()], "selector", combine_attrs="override"
        )
        every = every.assign_coords(
            selector=list(studies), control=("selector", [name != next(iter(RULES)) for name in studies])
        )
        here = every.isel(selector=0, draw=0, drop=True).sel(block=chosen["block"], drop=True)
        here = here.drop_vars([name for name in here.coords if name not in ("sample", "prompt")])
        summary = ds.passes.mask_summary(every)
        at = summary.sel(block=chosen["block"], polarity="signed", drop=True)
        table = at[["iou", "iou_low", "iou_high", "polarity_right", "collapsed"]]
        plain = table.drop_vars([name for name in table.coords if name not in table.dims])
        return Evidence(
            {
                "right": here["polarity_right"],
                "lost": (here["iou_oracle"] - here["iou"]).fillna(0.0),
                "collapsed": here["collapsed"],
            },
            {"rules": summary},
            {"rules_at_the_block": plain.to_dataframe().reset_index().round(4)},
            [reference_finding(self)],
        )

    def figures(self, result):
        """IoU by block of each rule, and with oracle polarity."""
        return {
            "rules": (
                plots.iou_by_block(
                    result.arrays["rules"].sel(polarity="signed", drop=True),
                    title="IoU with the subject by block, under each rule for the foreground",
                    about={"model": self.model, "k": self.k},
                ),
                "Mean IoU by block with intervals over prompts; grey are rules that are not the paper's.",
            )
        }

    def work(self):
        """The images, recorded at the last step."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {"streams": ["image"], "sites": ["block_output"], "steps": [-1]}
        return Work(
            images + self.n_choosing * len(self.seeds),
            {"statistics": (self.n_choosing * len(self.seeds), {"tensors": False}), "states": (images, kept)},
        )

    def _study(self, trial, options):
        cache = trial.record("states", streams=["image"], sites=["block_output"], steps=[-1])
        reference = reference_of(self, cache, self.reference)
        made = ds.passes.MaskOptions(n_init=4, **options)
        return ds.passes.mask_study(
            cache, {"massive": trial.ranking().top(self.k)}, reference, pca=None, options=made
        )


if __name__ == "__main__":
    run_claim(PolarityAndCollapse)
