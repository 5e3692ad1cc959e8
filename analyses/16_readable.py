"""What is readable from massive channels: what the prompt says, and where the subject is, more than from others?

One paper calls massive channels carriers of the prompt's meaning, another of local detail. Linear probes say what can
be read: of shape, colour, size, place, background and texture from channels' means over parts of the image, and of the
foreground token by token. A probe shows what is there, not what is used.

    python analyses/16_readable.py --out runs/16_readable
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.errors import InputError
from ditscope.passes.score_masks import cell_counts
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule
from ditscope.studies.subject import reference_of

DETAIL = ["texture"]


@dataclass(frozen=True)
class Readable(Claim):
    """What the prompt says is readable from massive channels more than from others.

    Attributes:
        labels: for models whose prompts have no known attributes, a CSV file with a column ``prompt`` and one for each
            label; one called texture counts as detail.
        reference: netCDF file of reference masks, for models whose truth is not known.
    """

    name = "readable"
    claim = "What the prompt says, and where the subject is, is readable from massive channels more than from others."
    source = "Turri et al. (arXiv 2605.13974) against Gan et al. (2510.11538): meaning or detail"
    design = (
        "Logistic regression on standardised channels of the image stream's block output, last step, in five folds "
        "by prompt: the caption's words from the channels' means over 3 x 3 parts of the image, and each token's "
        "foreground from its own channels, as balanced accuracy. The rule looks at the block in the middle of the "
        "model. Meaning is the mean over shape, colour, size, place and background; texture, which is detail, is "
        "reported beside."
    )
    controls = (
        "as many random channels, none of them massive, in two draws",
        "the same probes of shuffled labels",
        "as many channels of largest spread, and all channels (reported)",
    )
    rule = Rule(
        (
            Quantity.above(
                "meaning",
                "accuracy of what the prompt says, massive less random",
                0.05,
                refuted_below=0.0,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "foreground",
                "balanced accuracy of the foreground, massive less random",
                0.02,
                refuted_below=0.0,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "learned",
                "accuracy of what the prompt says, massive less its shuffled labels",
                0.1,
                smallest_effect=0.05,
            ),
        )
    )

    n_choosing: int = 24
    n_least: int = 80
    n_most: int = 120
    prompt_draw: int = 4  # the second draw, at this number of prompts, has one of the first

    labels: str = ""
    reference: str = ""

    def choose(self, trial):
        """Nothing; but labels are found, or missed, before anything is recorded."""
        self._labels(trial.prompts)
        return {}

    def test(self, trial, chosen):
        """Probe three blocks."""
        ranking = trial.ranking()
        sets = {
            "massive": ranking.top(self.k),
            "random": ranking.random(self.k, draws=2, without=ranking.top(self.k)),
            "largest spread": trial.ranking("std").top(self.k),
        }
        cache = trial.record("states", streams=["image"], sites=["block_output"], steps=[-1])
        labels = self._labels(cache.images["prompt"].values)
        blocks = sorted({trial.block_at(depth) for depth in (0, 0.5, 1)})
        options = {"blocks": blocks, "shuffles": 1, "resamples": 500}
        said = ds.passes.probe(cache, labels, sets, cells=3, **options)
        reference = reference_of(self, cache, self.reference)
        edges = (int(cache.hidden()[name].max()) + 1 for name in ("y", "x"))
        covered, pixels = cell_counts(reference.values, *edges)
        inside = xr.DataArray(covered > pixels / 2, dims=("sample", "y", "x"), name="foreground")
        where = ds.passes.probe(cache, inside, sets, **options)
        at, meaning = trial.block_at(0.5), said.drop_sel(label=DETAIL, errors="ignore").mean("label")

        def score(probed, name, selector):
            values = probed[name].sel(selector=selector, block=at).squeeze("step").mean("draw")
            if "label" in values.dims:
                values = values.squeeze("label")
            return values.drop_vars([n for n in values.coords if n not in ("sample", "prompt", "seed")])

        massive = score(meaning, "score", "massive")
        probed = xr.concat([said, where], "label", combine_attrs="override")
        means = probed[["accuracy", "accuracy_low", "accuracy_high", "chance"]].sel(block=at).squeeze("step")
        plain = means.drop_vars([name for name in means.coords if name not in means.dims])
        return Evidence(
            {
                "meaning": massive - score(meaning, "score", "random"),
                "foreground": score(where, "score", "massive") - score(where, "score", "random"),
                "learned": massive - score(meaning, "shuffled", "massive"),
            },
            {"probed": probed.drop_vars(["score", "shuffled"])},
            {"at_the_middle": plain.to_dataframe().reset_index().round(4)},
            [_chance_finding(probed, labels), _share_finding(reference.mean(("y_pixel", "x_pixel")))],
        )

    def figures(self, result):
        """Accuracy by block of each label."""
        return {
            "readable": (
                plots.probe_accuracy(result.arrays["probed"], about={"model": self.model, "k": self.k}),
                "What linear probes read by block, with intervals over prompts.",
            )
        }

    def _labels(self, prompts):
        """Labels ``[label, sample]`` of prompts."""
        if self.embedded:
            return ds.shapes.caption_labels(list(prompts))
        if not self.labels:
            raise InputError(
                f"{self.model}, whose prompts have no known attributes",
                "a CSV file with a column prompt and one for each label",
                "Pass --set labels=FILE.csv and --set reference=FILE.nc.",
            )
        table = pd.read_csv(self.labels).set_index("prompt").astype(str)
        missing = [prompt for prompt in map(str, prompts) if prompt not in table.index]
        if missing:
            raise InputError(f"no label of {missing[0]!r}", "one of every prompt", "Add its row.")
        found = table.loc[[str(prompt) for prompt in prompts]]
        return xr.DataArray(found.values.T, dims=("label", "sample"), coords={"label": list(found.columns)})

    def work(self):
        """The images, recorded at the last step."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {"streams": ["image"], "sites": ["block_output"], "steps": [-1]}
        return Work(
            images + self.n_choosing * len(self.seeds),
            {"statistics": (self.n_choosing * len(self.seeds), {"tensors": False}), "states": (images, kept)},
        )


def _chance_finding(probed, labels) -> Finding:
    """Whether probes of shuffled labels are as good as guessing."""
    classes = {str(each["label"].values): len(np.unique(each)) for each in labels} | {"foreground": 2}
    chance = probed["chance"].mean(("selector", "block", "step"))
    above = float(np.mean([float(chance.sel(label=name)) - 1 / n for name, n in classes.items()]))
    return Finding(
        f"Probes of shuffled labels are right {100 * above:+.1f} points beside guessing, on the mean of all labels.",
        abs(above) < 0.05,
    )


def _share_finding(reference) -> Finding:
    """Whether the subject is neither nothing nor everything."""
    low, high = float(reference.min()), float(reference.max())
    return Finding(
        f"The subject's reference mask covers {100 * low:.0f} to {100 * high:.0f} % of the image.",
        0 < low < high < 0.8,
    )


if __name__ == "__main__":
    run_claim(Readable)
