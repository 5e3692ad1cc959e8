"""Do massive channels come from AdaLN's gate?

A block adds to its stream what attention and MLP put out, channel by channel times a gate that has no tokens. One paper
finds the gate's spikes on the massive channels, and takes it for their origin.

    python analyses/10_gate_as_origin.py --out runs/10_gate_as_origin
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule

ENDS = ("block_input", "block_output", "attn_gate")
INSIDE = ("attn_output", "mlp_output", "mlp_gate")
TOKENS = 256


@dataclass(frozen=True)
class GateAsOrigin(Claim):
    """The gate's largest channels are the massive ones, and it is the gate that makes them large."""

    name = "gate_as_origin"
    claim = "The largest channels of the AdaLN gate are the massive ones, and it is the gate that makes them large."
    source = "Gan et al., arXiv 2510.11538, tracing massive activations to the gate"
    design = (
        "Of each image and block, the k channels of the largest attention gate are compared with the k of the largest "
        "mean of abs(x) at the block's output, over all steps, by the Jaccard index, averaged over blocks; two sets "
        "that share two thirds have an index of 0.5. Then what a block adds to its massive channels (ranked on the "
        "choosing prompts) is taken apart, at the first, middle and last step: the size of what is added is the "
        "gate's times that of the ungated output, and each is held against its geometric mean over all channels. The "
        "rule takes by how many doublings the gate stands out, which has to lie above 0 and above those of the output. "
        "A block counts once, as the mean of its parts, where attention and MLP have gates of their own."
    )
    controls = (
        "channel labels of the gate permuted, in all images and blocks alike",
        "what attention, MLP and others add to massive channels' energy (reported)",
    )
    rule = Rule(
        (
            Quantity.above(
                "overlap",
                "Jaccard index of the gate's top k and the massive channels",
                0.5,
                smallest_effect=0.05,
            ),
            Quantity.above(
                "gate",
                "doublings of the gate at massive channels above the mean of all channels",
                0.0,
                unit="doublings",
                smallest_effect=0.1,
            ),
            Quantity.above(
                "gate_less_output",
                "the same, less the doublings of what it gates",
                0.0,
                unit="doublings",
                smallest_effect=0.1,
            ),
        )
    )

    def test(self, trial, chosen):
        """Rank gate and output, and take apart what blocks add."""
        kept = {"tensors": False, "sites": ["block_output", "attn_gate"]}
        ranked = trial.record("gate_statistics", **kept)
        overlap = ds.passes.agreement(ranked, ranked, second_site="attn_gate", k=self.k)
        steps = sorted({0, self.num_inference_steps // 2, self.num_inference_steps - 1})
        sites = [*ENDS, *(site for site in INSIDE if _some_block_has(trial.dit, site))]
        tokens = min(TOKENS, _image_tokens(ranked))
        parts = trial.record("parts", sites=sites, steps=steps, tokens=tokens, streams=["image"])
        top = trial.ranking().top(self.k)
        growth = ds.passes.residual_growth(parts).sel(branch="cond").compute()
        massive = growth.where((top.ids == growth["channel"]).any("rank"))
        excess = massive[["gate_excess", "output_excess"]]
        known = excess["gate_excess"].notnull() & excess["output_excess"].notnull()
        by_block = excess.where(known).mean("part")  # a block of two gated parts counts once
        excess = {name: each.mean(("step", "block", "channel")) for name, each in by_block.items()}
        table = massive.sum("channel", min_count=1)[["energy_added"]].mean(("sample", "step"))
        table = table.assign(massive[["gate_excess", "output_excess"]].mean(("sample", "step", "channel")))
        whole = growth["energy_added"].sum("part") - growth["energy_growth"]
        off = float(abs(whole).max() / abs(growth["energy_growth"]).max())
        last = top[trial.dit.blocks[-1].index]
        return Evidence(
            {
                "overlap": _plain(overlap["by_sample"].sel(measure="jaccard", drop=True).mean("block")),
                "gate": _plain(excess["gate_excess"]),
                "gate_less_output": _plain(excess["gate_excess"] - excess["output_excess"]),
            },
            {
                "overlap": overlap.drop_vars("by_sample"),
                "growth": growth.sel(channel=last).mean(("sample", "step"), keep_attrs=True),
            },
            {
                "by_block": overlap[["null", "null_high", "p_value"]].to_dataframe().reset_index().round(4),
                "parts": table.to_dataframe()
                .reset_index()
                .dropna(how="any", subset=["energy_added"])
                .round(4),
            },
            [
                Finding(
                    f"Parts add up to the growth of energy within {off:.1e} of the largest; permuted gates reach an "
                    f"index of {float(overlap['null'].mean()):.3f}, where {overlap.attrs['chance']:.3f} is expected.",
                    bool(off < 1e-6 and abs(float(overlap["null"].mean()) - overlap.attrs["chance"]) < 0.02),
                )
            ],
        )

    def figures(self, result):
        """Overlap and growth by block."""
        about = {"model": self.model, "k": self.k}
        growth = result.arrays["growth"]
        return {
            "overlap": (
                plots.agreement_by_block(
                    result.arrays["overlap"],
                    title="The gate's largest channels and the massive ones",
                    about=about,
                ),
                "Agreement of the two rankings with intervals over prompts, and what permuted labels reach.",
            ),
            "growth": (
                plots.growth_by_block(growth, growth["channel"].values.tolist(), about=about),
                "What blocks add to the channels that are massive in the last block, averaged over prompts and steps.",
            ),
        }

    def work(self):
        """Two images of every prompt: statistics of one, and parts of blocks at three steps of the other."""
        images, choosing = (
            (self.n_choosing + self.n_most) * len(self.seeds),
            self.n_choosing * len(self.seeds),
        )
        parts = {"sites": [*ENDS, *INSIDE], "steps": range(3), "streams": ["image"], "tokens": TOKENS}
        kept = {"statistics": (choosing + images, {"tensors": False}), "parts": (images, parts)}
        return Work(2 * images + choosing, kept)


def _some_block_has(dit, site):
    return any(site in block.layout.taps.get("image", {}) for block in dit.blocks)


def _image_tokens(cache):
    return int(np.max(cache.stats()["count"].values))


def _plain(values):
    return values.drop_vars([n for n in values.coords if n not in ("sample", "prompt", "seed")])


if __name__ == "__main__":
    run_claim(GateAsOrigin)
