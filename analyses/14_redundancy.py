"""Do massive channels change less from step to step than the others, and can a cache keep them at less cost?

Caches of features (Chipmunk, ProCache) reuse what a block added in an earlier step, and judge by the size of changes
what to compute anew. If massive channels stay while the others move, the relative change of the whole says little of
the others.

    python analyses/14_redundancy.py --out runs/14_redundancy
"""

from __future__ import annotations

from dataclasses import dataclass

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table, match_finding
from ditscope.studies.rule import Quantity, Rule

METRICS = ("psnr", "ssim", "feature_distance")
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
KEPT = {"streams": ["image"], "sites": ["block_output"], "tokens": 256}


@dataclass(frozen=True)
class Redundancy(Claim):
    """Massive channels are the redundant ones."""

    name = "redundancy"
    claim = (
        "Massive channels change less from step to step than others, hide how much these change, and cost less to "
        "reuse."
    )
    source = "What Chipmunk and ProCache (arXiv 2512.17298) would need to know; claim 13 of compressibility"
    design = (
        "The output of every block, image stream, is recorded at every step, of 256 tokens. Relative change is the "
        "root sum of squares of the change to the next step over that of the state; of each image, means over blocks "
        "and steps. What reuse costs is measured on images: at the block in the middle, in every second step, "
        "channels of what the block adds are taken from the step before; PSNR to the unedited image, for the massive "
        "channels less as many random ones. What reuse of all channels costs at each of five blocks is reported, on "
        "the choosing prompts."
    )
    controls = (
        "as many random channels, none of them massive",
        "random other channels of which reuse changes as much, in the same run (reported)",
        "reuse of all channels, and of all but the massive ones (reported)",
    )
    rule = Rule(
        (
            Quantity.below(
                "slower",
                "relative change of massive channels over that of the others",
                0.8,
                refuted_above=1.0,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "hidden",
                "relative change without massive channels over that of all",
                1.1,
                refuted_below=1.0,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "cheap",
                "PSNR, massive reused less as many random reused",
                0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
        )
    )

    def test(self, trial, chosen):
        """Measure changes on a recording, and what reuse costs by comparisons."""
        ranking = trial.ranking()
        massive = ranking.top(self.k)
        sets = {"massive": massive, "random": ranking.random(self.k, without=massive)}
        cache = trial.record("states", **KEPT)
        changes = ds.passes.redundancy(cache, sets)
        own = changes.sel(selector="massive", drop=True).mean("draw")
        place = ("step", "branch", "block")
        where = {"blocks": [trial.block_at(0.5)], "steps": range(1, self.num_inference_steps, 2)}
        reuse = ds.edits.reuse(massive, **where)
        others = [c for c in range(trial.dit.width) if c not in set(massive[trial.block_at(0.5)].tolist())]
        compared = trial.compare(
            "reuse",
            {
                "reuse massive": reuse,
                "reuse random": ds.edits.reuse(sets["random"], **where),
                "reuse matched": ds.controls.matched(reuse, draws=1),
                "reuse all but massive": ds.edits.reuse(others, control=True, **where),
                "reuse all": ds.edits.reuse(control=True, **where),
            },
            METRICS,
        )
        psnr = effect_of(compared, "psnr").clip(max=60.0)  # of equal images it is infinite
        arrays = {"changes": changes.drop_vars("channel_change"), "comparison": _small(compared)}
        if trial.pilot is not None:
            steps = where["steps"]
            blocks = ds.grid(
                lambda block: {"reuse all": ds.edits.reuse(blocks=[block], steps=steps)},
                block=sorted({trial.block_at(depth) for depth in DEPTHS}),
            )
            arrays["by_block"] = trial.choosing.sweep("by_block", blocks, METRICS).load()
        return Evidence(
            {
                "slower": _bare((own["relative_change_of"] / own["relative_change_without"]).mean(place)),
                "hidden": _bare((own["relative_change_without"] / changes["relative_change"]).mean(place)),
                "cheap": psnr.sel(edit="reuse massive", drop=True) - psnr.sel(edit="reuse random", drop=True),
            },
            arrays,
            {"effects": effects_table(compared), "shares": _shares(changes)},
            [match_finding(compared, "reuse matched")],
        )

    def figures(self, result):
        """Change by step, and what reuse costs."""
        about = {"model": self.model, "k": self.k}
        return {
            "change": (
                plots.change_by_step(result.arrays["changes"], about=about),
                "Change of hidden states from step to step, and the part of it that massive channels make.",
            ),
            "reuse": (
                plots.ablation(result.arrays["comparison"], about=about),
                "What reuse in every second step at one block costs the image, with intervals over prompts.",
            ),
            "by_block": (
                plots.grid_effects(
                    result.arrays["by_block"],
                    title="What a block that is reused in every second step costs the image",
                    about={"model": self.model},
                ),
                "Reuse of all channels at one block, on the choosing prompts, with intervals over them.",
            ),
        }

    def work(self):
        """Recordings of every step, one unedited and five edited images of each prompt, and blocks of choosing ones."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        return Work(
            7 * images + (2 + len(DEPTHS)) * self.n_choosing * len(self.seeds),
            {"statistics": (self.n_choosing * len(self.seeds), {"tensors": False}), "states": (images, KEPT)},
        )


def _small(compared):
    return compared.drop_vars(["images", "baseline_images"]).load()


def _bare(values):
    return values.drop_vars([name for name in values.coords if name not in ("sample", "prompt", "seed")])


def _shares(changes):
    """What of the change, of the energy and of a rule's choice the sets are, over all places."""
    names = ["change_share", "energy_share", "channel_share", "entry_share", "token_jaccard"]
    names += ["relative_change_of", "relative_change_without", "cosine_of", "cosine_without"]
    means = changes[names].mean(("draw", "sample", "step", "branch", "block"))
    return means.drop_vars("control").to_dataframe().reset_index().round(4)


if __name__ == "__main__":
    run_claim(Redundancy)
