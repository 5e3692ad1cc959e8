"""Do massive channels mark the subject, and do they because they are massive?

Tokens are clustered by the massive channels alone (K-means, two clusters, after min-max), and one cluster is held
against the subject's mask. Any channels make some mask, so the same is done with random channels, with those of the
ranks in the middle, and with those that vary most over tokens, which is what a mask is made of. Polarity is not part
of this claim: of mask and complement the better counts (07 is about the rule that chooses).

    python analyses/06_localisation.py --out runs/06_localisation
"""

from __future__ import annotations

from dataclasses import dataclass

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.models.embedded import is_embedded
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule
from ditscope.studies.subject import reference_finding, reference_of

OPTIONS = ds.passes.MaskOptions(n_init=4)


@dataclass(frozen=True)
class Localisation(Claim):
    """Masks of massive channels mark the subject better than those of others.

    Attributes:
        reference: netCDF file of reference masks, for models whose truth is not known.
    """

    name = "localisation"
    claim = "Massive channels mark the subject, and because they are massive: better than other channels do."
    source = "Turri et al., arXiv 2605.13974, claim (ii) and 3.2, Fig. 3"
    design = (
        "Of the image stream's block output at the last step, the k channels of a set are scaled to [0, 1] over tokens "
        "and tokens clustered by K-means in two; IoU with the subject's mask is that of the better of mask and "
        "complement. Sets are ranked by block on the choosing prompts. The rule looks at one block, the one where the "
        "massive channels' mean IoU on the choosing prompts is largest, which favours them; all blocks, and the step "
        "in the middle, are reported."
    )
    controls = (
        "as many random channels, none of them massive, in three draws",
        "as many channels of the middle ranks",
        "the channels of largest spread over tokens",
        "as many channels of the smallest magnitude, and principal components of all (reported)",
        "masks by what the prompt's words put out of attention, where text is a stream (reported)",
    )
    rule = Rule(
        (
            Quantity.above(
                "iou",
                "IoU of massive channels with the subject, oracle polarity",
                0.5,
                refuted_below=0.3,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "against_random",
                "IoU, massive less random",
                0.05,
                refuted_below=0.0,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "against_middle",
                "IoU, massive less middle ranks",
                0.05,
                refuted_below=0.0,
                smallest_effect=0.05,
            ),
            Quantity.above("against_spread", "IoU, massive less largest spread", 0.0, smallest_effect=0.02),
        )
    )

    reference: str = ""

    def choose(self, trial):
        """The block at which massive channels mark the subject best."""
        study = self._study(trial, {"massive": trial.ranking().top(self.k)}, step=-1, pca=None)
        means = study["iou_oracle"].mean(("selector", "draw", "sample"))
        return {"block": int(means["block"][int(means.argmax("block"))])}

    def test(self, trial, chosen):
        """Score the masks of every set."""
        ranking = trial.ranking()
        sets = {
            "massive": ranking.top(self.k),
            "random": ranking.random(self.k, draws=3, without=ranking.top(self.k)),
            "middle ranks": ranking.middle(self.k),
            "largest spread": trial.ranking("std").top(self.k),
            "bottom": ranking.bottom(self.k),
        }
        last, middle = (self._study(trial, sets, step=step, pca=self.k) for step in (-1, self._middle()))
        found = last["iou_oracle"].sel(block=chosen["block"], drop=True).mean("draw").fillna(0.0)
        found = found.drop_vars(
            [name for name in found.coords if name not in ("sample", "selector", "prompt")]
        )

        def less(selector: str):
            return found.sel(selector="massive", drop=True) - found.sel(selector=selector, drop=True)

        summary = ds.passes.mask_summary(last)
        table = summary[["iou", "iou_low", "iou_high"]].sel(block=chosen["block"], drop=True)
        plain = table.drop_vars([name for name in table.coords if name not in table.dims])
        return Evidence(
            {
                "iou": found.sel(selector="massive", drop=True),
                "against_random": less("random"),
                "against_middle": less("middle ranks"),
                "against_spread": less("largest spread"),
            },
            {"last": summary, "middle": ds.passes.mask_summary(middle)},
            {"iou_at_the_block": plain.to_dataframe().reset_index().round(4)},
            [reference_finding(self)],
        )

    def figures(self, result):
        """IoU by block at two steps."""
        about = {"model": self.model, "k": self.k}
        return {
            name: (
                plots.iou_by_block(result.arrays[name], title=f"IoU with the subject, {words}", about=about),
                f"Mean IoU by block, {words}, with intervals over prompts.",
            )
            for name, words in (("last", "last step"), ("middle", "step in the middle"))
        }

    def work(self):
        """The images, recorded at two steps."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {"streams": ["image"], "sites": ["block_output"], "steps": [self._middle(), -1]}
        return Work(
            images + self.n_choosing * len(self.seeds),
            {
                "statistics": (self.n_choosing * len(self.seeds), {"tensors": False}),
                "states": (images, kept),
            },
        )

    def _middle(self) -> int:
        return self.num_inference_steps // 2

    def _study(self, trial, sets, *, step, pca):
        cache = trial.record("states", streams=["image"], sites=["block_output"], steps=[self._middle(), -1])
        reference = reference_of(self, cache, self.reference)
        also = (
            {"words": self._words(trial)} if pca is not None and step == -1 and _attends(trial.dit) else None
        )
        return ds.passes.mask_study(cache, sets, reference, step=step, pca=pca, options=OPTIONS, also=also)

    def _words(self, trial):
        """Masks by the outputs of attention of the caption's words."""
        cache = trial.record("attention", streams=["image", "text"], sites=["attn_output"], steps=[-1])
        n_tokens = cache.hidden("text", "attn_output").sizes["token"]
        concepts = ds.shapes.caption_tokens(cache.images["prompt"], n_tokens)
        return ds.passes.concept_masks(cache, concepts)


def _attends(dit) -> bool:
    """Whether image and text go through one attention, in the embedded FLUX.1 pipeline, whose tokens are words."""
    taps = [block.layout.taps.get("text", {}) for block in dit.blocks]
    return is_embedded(dit.repo_id) and any("attn_output" in each for each in taps)


if __name__ == "__main__":
    run_claim(Localisation)
