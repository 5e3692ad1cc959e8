"""Is the transport of semantics specific to massive channels?

Putting a source image's massive channels into a target's run, where a mask says, is said to move the target towards
the source. Would not other channels do so, if as much of them is moved?

    python analyses/11_transport.py --out runs/11_transport
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.metrics.metric import Metric
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.score_masks import score_masks
from ditscope.passes.spatial_masks import spatial_masks
from ditscope.shapes.captions import parse_caption
from ditscope.shapes.labels import foreground
from ditscope.studies.claim import Claim, Evidence, Finding, effect_of
from ditscope.studies.cost import Work
from ditscope.studies.reading import effects_table, match_finding, meaning_change, meaning_metrics
from ditscope.studies.rule import Quantity, Rule

MOVED = "source_shown"
ALPHAS = (0.5, 1.0)
MASKS = MaskOptions(polarity="border_majority", n_init=2)


@dataclass(frozen=True)
class Transport(Claim):
    """Transport of massive channels moves an image towards its source, and other channels do not."""

    name = "transport"
    claim = "Transported massive channels move an image towards their source, more than other channels do."
    source = "Turri et al., arXiv 2605.13974, claim (iii) transport"
    design = (
        "In the blocks of the middle third, in every step and both branches, channels of the target take the values "
        "that they had in the run of another prompt with the same seed, within a mask: K-means on the target's "
        "massive channels at the last step, with the side that is less on the border for the subject, since the "
        "paper's own sign rule is a claim of its own (07). The block of the mask is chosen on the choosing prompts, "
        "where the subject is known. The source of each prompt is the next one of the list, whatever it says. How "
        "far an image moved is the share of attributes in which the two captions differ that the oracle finds as in "
        "the source's caption; on other models the CLIP score to the source's prompt, over 100. The paper says "
        "neither blocks, steps, seeds nor whose mask: these are ours, and the same for every set of channels."
    )
    controls = (
        "the same transport, in the same mask, of as many random channels",
        "of random channels that it changes by as much (equal edit norm, at each place of each image)",
        "of all channels: the most that this scope can do",
        "of massive channels half way (alpha 0.5)",
    )
    rule = Rule(
        (
            Quantity.above(
                "moved",
                "moved towards the source by massive channels",
                0.1,
                refuted_below=0.05,
                half_width=0.1,
            ),
            Quantity.above("beyond_random", "the same, less as many random channels", 0.0),
            Quantity.above("beyond_matched", "the same, less random channels of equal edit norm", 0.0),
        )
    )

    def choose(self, trial):
        """The block whose masks find the subject best, where the truth is known; else the last one."""
        runs, last = self._runs(trial), len(trial.dit.blocks) - 1
        if not self.embedded:
            return {"mask_block": last}
        massive = trial.ranking().top(self.k)
        found = {block: _iou(runs, massive, block) for block in [*self._blocks(trial), last]}
        return {"mask_block": max(found, key=found.__getitem__)}

    def _blocks(self, trial):
        return list(range(trial.block_at(1 / 3), trial.block_at(2 / 3) + 1))

    def _runs(self, trial):
        blocks = sorted({*self._blocks(trial), len(trial.dit.blocks) - 1})
        return trial.record("runs", blocks=blocks, branches=None)

    def test(self, trial, chosen):
        """Record the runs, and transport from each to the one before it."""
        ranking = trial.ranking()
        massive = ranking.top(self.k)
        runs = self._runs(trial)
        count = len(trial.prompts) * len(self.seeds)
        after = [(at + len(self.seeds)) % count for at in range(count)]
        sources = dict(zip(trial.prompts, [*trial.prompts[1:], trial.prompts[0]], strict=True))
        shared = {
            **{"target": runs, "sample": after, "blocks": self._blocks(trial)},
            **{"mask_channels": massive, "mask_block": chosen["mask_block"], "mask_options": MASKS},
        }
        moves = {alpha: ds.edits.transport(runs, massive, alpha=alpha, **shared) for alpha in ALPHAS}
        edits = {
            "massive": moves[1.0],
            "massive, half way": moves[0.5],
            "random": ds.edits.transport(runs, ranking.random(self.k), control=True, **shared),
            "matched": ds.controls.matched(moves[1.0], draws=1),
            "all channels": ds.edits.transport(runs, None, control=True, **shared),
        }
        shown = Metric(MOVED, "shown of the source", _of_source(self, sources), damage="either")
        compared = trial.compare("moves", edits, (shown, *meaning_metrics(self), "psnr"))
        moved = effect_of(compared, MOVED)

        def less(other):
            return moved.sel(edit="massive", drop=True) - moved.sel(edit=other, drop=True)

        keeps = meaning_change(compared).mean("sample")
        kept = "; ".join(f"{edit} {float(keeps.sel(edit=edit)):+.2f}" for edit in keeps["edit"].values)
        return Evidence(
            {
                "moved": moved.sel(edit="massive", drop=True),
                "beyond_random": less("random"),
                "beyond_matched": less("matched"),
            },
            {
                "comparison": compared.drop_vars(["images", "baseline_images"]).load(),
                "images": compared[["images", "baseline_images"]].isel(sample=slice(0, 5)).load(),
            },
            {"effects": effects_table(compared)},
            [
                match_finding(compared, "matched"),
                self._mask_finding(runs, massive, chosen["mask_block"]),
                Finding(f"Change of what is shown of the target's own caption: {kept}.", None),
            ],
        )

    def _mask_finding(self, runs, massive, block):
        if not self.embedded:
            return Finding("How well the masks find the subject cannot be told here.", None)
        found = _iou(runs, massive, block)
        return Finding(
            f"The masks have an IoU of {found:.2f} with the subject of the target's image.", found > 0.5
        )

    def figures(self, result):
        """How far each set moves the images, and images."""
        about = {"model": self.model, "k": self.k}
        metrics = [MOVED, meaning_metrics(self)[0], "psnr"]
        return {
            "effects": (
                plots.ablation(
                    result.arrays["comparison"].sel(metric=metrics),
                    title="Effect of each transport",
                    about=about,
                ),
                "How far each set of channels moves an image towards its source, and what of its own is lost.",
            ),
            "images": (
                plots.image_grid(result.arrays["images"], title="The same prompts and seeds", about=about),
                "The first tested prompts; the source of each is the one below it.",
            ),
        }

    def work(self):
        """One recorded image, one unedited and five edited ones of each prompt."""
        every = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {
            "statistics": (self.n_choosing * len(self.seeds), {"tensors": False}),
            "runs, of a third of FLUX.1's blocks": (every, {"blocks": range(19, 38)}),
        }
        return Work(self.n_choosing * len(self.seeds) + 7 * every, kept)


def _of_source(claim, sources):
    if not claim.embedded:

        def by_clip(images, prompts, scorer):
            return np.asarray(scorer.score(images, [sources[prompt] for prompt in prompts])) / 100

        return by_clip

    def by_oracle(images, prompts):
        there = [sources[prompt] for prompt in prompts]
        right = ds.metrics.shapes_attributes(images, there)
        own = [_words(prompt) for prompt in prompts]
        other = [_words(prompt) for prompt in there]
        differs = np.array(
            [[a != b for a, b in zip(*pair, strict=True)] for pair in zip(own, other, strict=True)]
        )
        shown = np.stack(list(right.values()), axis=-1)
        return (shown & differs).sum(-1) / np.maximum(differs.sum(-1), 1)

    return by_oracle


def _words(prompt):
    caption = parse_caption(prompt)
    (only,) = caption.objects
    return only.shape, only.colour, only.size, only.place, caption.background, caption.texture


def _iou(runs, massive, block):
    masks = spatial_masks(runs, massive, blocks=block, steps=-1, options=MASKS)
    return float(score_masks(masks, foreground(runs.images))["iou"].mean())


if __name__ == "__main__":
    run_claim(Transport)
