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
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.comparison_figures import comparison_arrays, comparison_figures
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table, match_finding, meaning_change, meaning_metrics
from ditscope.studies.rule import Quantity, Rule

MOVED = "source_shown"
MASSIVE, FEWEST = "massive", "few massive, one block"
ALPHAS = (0.2, 0.4, 0.6, 0.8)
PARTS = ("constant", "variation")
FEW = 3
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
        "neither blocks, steps, seeds nor whose mask: these are ours, and the same for every set of channels. A "
        "control of equal edit norm cannot be had there: where other channels have been put in at one block, the next "
        f"has little left to change. So the rule holds the {FEW} largest channels against it in a scope of their own, "
        "the block in the middle alone. On the choosing prompts the way to the source is walked in five steps of "
        "alpha, and the constant and the variation over the mask are moved alone; this is reported."
    )
    controls = (
        "the same transport, in the same mask, of as many random channels",
        f"of random channels that it changes by as much as the {FEW} largest (equal edit norm, at each place of each "
        "image), both at one block",
        "of all channels: the most that this scope can do",
        "part of the way (alpha of 0.2 to 0.8), and the constant or the variation over tokens alone (reported)",
    )
    rule = Rule(
        (
            Quantity.above(
                "moved",
                "moved towards the source by massive channels",
                0.1,
                refuted_below=0.05,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "beyond_random", "the same, less as many random channels", 0.0, smallest_effect=0.05
            ),
            Quantity.above(
                "beyond_matched",
                f"moved by the {FEW} largest of one block, less random channels of equal edit norm",
                0.0,
                smallest_effect=0.05,
            ),
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
        runs, move = self._moves(trial, chosen)
        few = move(ranking.top(FEW), blocks=[trial.block_at(0.5)])
        edits = {
            MASSIVE: move(massive),
            "random": move(ranking.random(self.k, without=massive), control=True),
            "all channels": move(None, control=True),
            FEWEST: few,
            "matched": ds.controls.matched(few, draws=1),
        }
        compared = trial.compare("moves", edits, self._metrics(trial))
        moved = effect_of(compared, MOVED)

        def less(edit, other):
            return moved.sel(edit=edit, drop=True) - moved.sel(edit=other, drop=True)

        keeps = meaning_change(compared).mean("sample")
        kept = "; ".join(f"{edit} {float(keeps.sel(edit=edit)):+.2f}" for edit in keeps["edit"].values)
        arrays, tables = comparison_arrays(compared), {"effects": effects_table(compared)}
        if trial.pilot is not None:
            walked = self._walk(trial.choosing, chosen)
            arrays["walk"], tables["walk"] = walked, effects_table(walked)
        return Evidence(
            {
                "moved": moved.sel(edit=MASSIVE, drop=True),
                "beyond_random": less(MASSIVE, "random"),
                "beyond_matched": less(FEWEST, "matched"),
            },
            arrays,
            tables,
            [
                match_finding(compared, "matched"),
                self._mask_finding(runs, massive, chosen["mask_block"]),
                Finding(f"Change of what is shown of the target's own caption: {kept}.", None),
            ],
        )

    def _moves(self, trial, chosen):
        """The runs, and a function that makes a transport of channels between them."""
        runs, count = self._runs(trial), len(trial.prompts) * len(self.seeds)
        shared = {
            "target": runs,
            "sample": [(at + len(self.seeds)) % count for at in range(count)],
            "blocks": self._blocks(trial),
            "mask_channels": trial.ranking().top(self.k),
            "mask_block": chosen["mask_block"],
            "mask_options": MASKS,
        }
        return runs, lambda channels, **own: ds.edits.transport(runs, channels, **{**shared, **own})

    def _metrics(self, trial):
        sources = dict(zip(trial.prompts, [*trial.prompts[1:], trial.prompts[0]], strict=True))
        shown = Metric(MOVED, "likeness to the source", _of_source(self, sources), damage="either")
        return shown, *meaning_metrics(self), "psnr"

    def _walk(self, trial, chosen):
        """Massive channels part of the way, and their constant or variation alone."""
        massive, (_, move) = trial.ranking().top(self.k), self._moves(trial, chosen)
        edits = {f"alpha {alpha:g}": move(massive, alpha=alpha) for alpha in ALPHAS}
        edits |= {"alpha 1": move(massive)}
        edits |= {f"{part} alone": move(massive, part=part) for part in PARTS}
        return (
            trial.compare("walk", edits, self._metrics(trial)).drop_vars(["images", "baseline_images"]).load()
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
        metrics = [MOVED, meaning_metrics(self)[0], "psnr"]
        return {
            **comparison_figures(
                self,
                result,
                effects="How far each set of channels moves an image towards its source, and what of its own is lost.",
                images="The first tested prompts; the source of each is the one below it.",
                metrics=metrics,
                title="Effect of each transport",
            ),
            "walk": (
                plots.ablation(
                    result.arrays["walk"].sel(metric=metrics),
                    title="Massive channels part of the way, and in part",
                    about={"model": self.model, "k": self.k},
                ),
                "Transport by alpha, and of the constant or the variation alone, on the choosing prompts.",
            ),
        }

    def work(self):
        """One recorded image, one unedited and five edited ones of each prompt; eight more of the choosing ones."""
        every = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {
            "statistics": (self.n_choosing * len(self.seeds), {"tensors": False}),
            "runs, of a third of FLUX.1's blocks": (every, {"blocks": range(19, 38)}),
        }
        return Work(9 * self.n_choosing * len(self.seeds) + 7 * every, kept)


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
