"""Do another model and another dtype have massive channels too, and as stable ones?

That massive channels are a trait of diffusion transformers, and not of one checkpoint, is what the papers assume. The
numbers of channels of two models mean nothing to each other, so that between models what is compared is how much a few
channels lead, and how stable they are; between dtypes of one model, the channels themselves.

    python analyses/17_across_models.py --out runs/17_across_models
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.intervals import interval_over
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule


@dataclass(frozen=True)
class AcrossModels(Claim):
    """Two models of different families both have a few stable massive channels, in any dtype.

    Attributes:
        other: the other model.
    """

    name = "across_models"
    claim = "Models of other families have a few stable massive channels too, and a model the same ones in any dtype."
    source = (
        "Assumed in Turri et al., arXiv 2605.13974 (five models), and Gan et al., arXiv 2510.11538 (three)"
    )
    design = (
        "Statistics over image tokens of every block's output at every step, of the model, of the model in another "
        "dtype (bfloat16, or float32 where the model is in bfloat16) and of a model of another family, for the same "
        "prompts and seed. Of each model the rule takes the share of the energy that the k leading channels of an "
        "image and block hold, averaged over blocks; of the other one, the Jaccard index of an image's top k with "
        "those of the mean over the images of all other prompts; and between dtypes, the Jaccard index of each image's "
        "own top k, where 0.9 is SPARK's limit of a set that has settled."
    )
    controls = (
        "the share and the index of random channels (reported)",
        "the dtypes' index under permuted labels",
    )
    rule = Rule(
        (
            Quantity.above(
                "own_share",
                "share of energy in the top k of the model",
                0.5,
                refuted_below=0.25,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "other_share",
                "share of energy in the top k of the other model",
                0.5,
                refuted_below=0.25,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "other_stable",
                "overlap of an image's top k with that of other prompts, other model",
                0.5,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "dtypes",
                "overlap of an image's top k in two dtypes",
                0.9,
                refuted_below=0.5,
                smallest_effect=0.05,
            ),
        )
    )

    other: str = "shapes-sana"

    def test(self, trial, chosen):
        """Record three times, and compare."""
        own = trial.record("statistics", tensors=False)
        dtype = torch.float32 if trial.dit.dtype is torch.bfloat16 else torch.bfloat16
        with ds.load(self.model, torch_dtype=dtype, **_placed(trial.dit)) as rounded:
            cast = self._record(rounded, trial, f"statistics_{str(dtype).removeprefix('torch.')}")
        with ds.load(self.other, torch_dtype=trial.dit.dtype, **_placed(trial.dit)) as other:
            others = self._record(other, trial, "statistics_other")
        dtypes = ds.passes.agreement(own, cast, k=self.k)
        scores = {"own": _scores(own), "other": _scores(others)}
        shares = {name: each.concentration(self.k)["energy_share"] for name, each in scores.items()}
        stable = {name: _with_others(each.scores, self.k) for name, each in scores.items()}
        by_block = {
            f"{name} {what}": interval_over(_plain(each, "block", "block_name"))
            for what, found in (("share", shares), ("stable", stable))
            for name, each in found.items()
        }
        table = [each.to_dataframe().reset_index().assign(of=name) for name, each in by_block.items()]
        width = scores["other"].scores.sizes["channel"]
        chance = ds.passes.expected_jaccard(self.k, width)

        return Evidence(
            {
                "own_share": _plain(shares["own"].mean("block")),
                "other_share": _plain(shares["other"].mean("block")),
                "other_stable": _plain(stable["other"].mean("block")),
                "dtypes": _plain(dtypes["by_sample"].sel(measure="jaccard", drop=True).mean("block")),
            },
            {"dtypes": dtypes.drop_vars("by_sample")},
            {"by_block": pd.concat(table)[["of", "block", "block_name", "mean", "low", "high"]].round(4)},
            [
                Finding(
                    f"As many random channels of the other model would hold {self.k / width:.3f} of the energy, and "
                    f"have an index of {chance:.3f}; permuted labels reach {float(dtypes['null'].mean()):.3f} between "
                    "dtypes.",
                    chance < 0.25,
                )
            ],
        )

    def _record(self, dit, trial, name):
        kept = {"tensors": False, "branches": ["cond"], "batch_size": self.batch_size}
        with ds.record(dit, trial.folder / f"{name}.zarr", **kept) as rec:
            return rec.generate(
                list(trial.prompts),
                seeds=self.seeds,
                num_inference_steps=self.num_inference_steps,
                **self.call,
            )

    def figures(self, result):
        """The dtypes' agreement by block."""
        return {
            "dtypes": (
                plots.agreement_by_block(
                    result.arrays["dtypes"],
                    title="The same channels in two dtypes?",
                    about={"model": self.model, "k": self.k},
                ),
                "Agreement of the rankings of one model in two dtypes, with intervals over prompts.",
            )
        }

    def work(self):
        """Three images of every prompt; the cost of each is taken for that of the model."""
        images = (self.n_choosing + self.n_most) * len(self.seeds)
        return Work(3 * images, {"statistics": (3 * images, {"tensors": False})})


def _placed(dit):
    return {} if dit.device.type == "cpu" else {"device_map": dit.device.type}


def _scores(cache):
    return ds.passes.rank_channels(cache, over=("step", "branch", "token"))


def _with_others(scores, k):
    """Jaccard index of each sample's top k with that of the mean over other prompts' samples ``[sample, block]``."""
    prompts = scores["prompt"].values
    rest = xr.concat([scores.isel(sample=prompts != each).mean("sample") for each in prompts], "sample")
    own, other = (each.transpose("sample", "block", "channel").values for each in (scores, rest))
    member = [np.argsort(np.argsort(-each, axis=-1, kind="stable"), axis=-1) < k for each in (own, other)]
    both = (member[0] & member[1]).sum(-1)
    kept = scores.isel(channel=0, drop=True).transpose("sample", "block")
    return xr.DataArray(both / (2 * k - both), dims=kept.dims, coords=kept.coords)


def _plain(values, *more):
    return values.drop_vars([n for n in values.coords if n not in ("sample", "prompt", "seed", *more)])


if __name__ == "__main__":
    run_claim(AcrossModels)
