"""Does keeping a static set of massive channels in a wider format pay for rounding the rest to few bits?

Formats whose scale is shared spend their range on the largest channel. MixDiT keeps channels of large magnitude in MX9
and the rest in MX6. That presumes a set that is the same at every step and prompt, and that it is these channels which
matter: as many random ones kept apart cost the same bits.

    python analyses/15_quantisation.py --out runs/15_quantisation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table
from ditscope.studies.rule import Quantity, Rule

METRICS = ("psnr", "ssim", "feature_distance")
NARROW = "mx6"
SCHEMES = ("int8 per tensor", "int8 per channel", "int4 per token", "mx9", "mx6")
APART = "mx9"


@dataclass(frozen=True)
class Quantisation(Claim):
    """A static set of massive channels in a wider format makes rounding the rest cheap."""

    name = "quantisation"
    claim = "Massive channels are a static set, and keeping them in MX9 makes MX6 for the rest cost the image less."
    source = "MixDiT, arXiv 2504.08398 (body not in hand); claim 13 of compressibility"
    design = (
        "The output of every block, image stream, is rounded in every step, each image with scales of its own, and the "
        "model goes on in its own dtype: all channels to MX6; or the k massive channels of the block to MX9 and the "
        "rest to MX6. The set is ranked by the mean of abs(x) on the choosing prompts, once for all steps. PSNR to the "
        "unrounded image decides. Static means that of each image, at each step and block, the k channels that are "
        "largest by the same statistic are the set: the Jaccard index of both, over steps and blocks. The error of the "
        "hidden states themselves, in more formats, is reported, on 256 tokens."
    )
    controls = ("as many random channels, none of them massive, in MX9: the same bits",)
    rule = Rule(
        (
            Quantity.above(
                "gain",
                "PSNR, MX6 with massive channels in MX9 less MX6 for all",
                1.0,
                refuted_below=0.0,
                unit="dB",
                smallest_effect=1.0,
            ),
            Quantity.above(
                "specific",
                "PSNR, MX6 with massive channels in MX9 less with as many random in MX9",
                1.0,
                refuted_below=0.0,
                unit="dB",
                smallest_effect=1.0,
            ),
            Quantity.above(
                "static",
                "Jaccard index of the static set and the largest channels of the image at a step",
                0.8,
                refuted_below=0.6,
                smallest_effect=0.05,
            ),
        )
    )

    def test(self, trial, chosen):
        """Round in the run, and on a recording."""
        ranking = trial.ranking()
        sets = {
            "massive": ranking.top(self.k),
            "random": ranking.random(self.k, without=ranking.top(self.k)),
        }
        edits = {
            f"{NARROW}, {name} in {APART}": [
                ds.edits.fake_quantize(chosen_set, NARROW, spare=True, control=name != "massive"),
                ds.edits.fake_quantize(chosen_set, APART, control=name != "massive"),
            ]
            for name, chosen_set in sets.items()
        }
        edits[NARROW] = ds.edits.fake_quantize(None, NARROW, control=True)
        compared = trial.compare("rounded", edits, METRICS)
        psnr = effect_of(compared, "psnr").clip(max=60.0)  # of equal images it is infinite
        mixed = psnr.sel(edit=f"mx6, massive in {APART}", drop=True)
        cache = trial.record(
            "states", streams=["image"], sites=["block_output"], steps=self._steps(), tokens=256
        )
        errors = ds.passes.quantization_error(cache, sets, SCHEMES, apart=APART)
        ranges = ds.passes.channel_ranges(cache)
        return Evidence(
            {
                "gain": mixed - psnr.sel(edit="mx6", drop=True),
                "specific": mixed - psnr.sel(edit=f"mx6, random in {APART}", drop=True),
                "static": self._jaccard(trial, sets["massive"]),
            },
            {
                "comparison": compared.drop_vars(["images", "baseline_images"]).load(),
                "errors": errors,
                "ranges": ranges,
            },
            {"effects": effects_table(compared), "noise": _noise(errors)},
        )

    def figures(self, result):
        """Cost to the image, and noise of the hidden states."""
        about = {"model": self.model, "k": self.k}
        return {
            "effects": (
                plots.ablation(result.arrays["comparison"], about=about),
                "What rounding the output of every block costs the image, with intervals over prompts.",
            ),
            "noise": (
                plots.rounding_error(result.arrays["errors"], about=about),
                "Signal to rounding noise of hidden states by scheme.",
            ),
        }

    def work(self):
        """One unedited and three edited images of each prompt, statistics, and recordings of three steps."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        kept = {"streams": ["image"], "sites": ["block_output"], "steps": self._steps(), "tokens": 256}
        return Work(
            6 * images + self.n_choosing * len(self.seeds),
            {
                "statistics": (self.n_choosing * len(self.seeds), {"tensors": False}),
                "own statistics": (images, {"tensors": False}),
                "states": (images, kept),
            },
        )

    def _steps(self) -> list[int]:
        return [0, self.num_inference_steps // 2, self.num_inference_steps - 1]

    def _jaccard(self, trial, static):
        """Of each image, over steps and blocks: how far its own largest channels are the static set."""
        stats = trial.record("own_statistics", tensors=False).stats()
        size = stats["mean_abs"].sel(branch="cond", drop=True).transpose("sample", "step", "block", "channel")
        order = np.argsort(-size.values, axis=-1, kind="stable")[..., : self.k]
        own = np.stack(
            [np.isin(order[:, :, at], static[int(b)]) for at, b in enumerate(stats["block"].values)]
        )
        shared = own.sum(-1)  # [block, sample, step]
        jaccard = (shared / (2 * self.k - shared)).mean((0, 2))
        coords = {name: ("sample", stats[name].values) for name in ("sample", "prompt", "seed")}
        return xr.DataArray(jaccard, dims="sample", coords=coords)


def _noise(errors):
    """Mean noise in dB by scheme and set, together and apart."""
    means = errors[["sqnr", "rest_sqnr"]].mean(("draw", "sample", "step", "branch", "block"))
    return means.drop_vars("control").to_dataframe().reset_index().round(3)


if __name__ == "__main__":
    run_claim(Quantisation)
