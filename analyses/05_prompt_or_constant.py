"""Do massive channels follow the prompt, or the timestep alone?

One paper takes massive channels for carriers of what the prompt says, another finds them the same for a thousand
prompts. In FLUX.1 modulation sees the prompt by its pooled vector only and attention by its tokens only, so that
the two are varied apart as well.

    python analyses/05_prompt_or_constant.py --out runs/05_prompt_or_constant
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.errors import UnsupportedError
from ditscope.intervals import student_interval
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule

CROSSED = 6


@dataclass(frozen=True)
class PromptOrConstant(Claim):
    """Massive channels depend on the timestep and not on the text."""

    name = "prompt_or_constant"
    claim = "The size of massive channels depends on the timestep, and is the same for every prompt."
    source = (
        "Gan et al., arXiv 2510.11538; against Turri et al., arXiv 2605.13974, where they carry the prompt"
    )
    design = (
        "Mean over image tokens of abs(x) at every block's output and step, for two seeds of each prompt. Its sum of "
        "squares over prompts, seeds and steps is split into the factors' parts and what is left, for the k massive "
        "channels of each block, which are ranked on the choosing prompts; shares are averaged over blocks and "
        "channels. The rule takes the steps' share less the prompts', and how far prompts lie apart at one step: the "
        "standard deviation over prompts as a share of the mean. Intervals leave one prompt out in turn."
    )
    controls = (
        "all other channels, split alike (reported)",
        f"{CROSSED} texts whose tokens and pooled vectors are crossed, where the pipeline has both (reported)",
    )
    rule = Rule(
        (
            Quantity.above("step_less_prompt", "the steps' share of the variance less the prompts'", 0.0),
            Quantity.below(
                "spread",
                "standard deviation over prompts as a share of the mean",
                0.1,
                refuted_above=0.25,
            ),
        )
    )

    seeds: tuple[int, ...] = (0, 1)

    def test(self, trial, chosen):
        """Record statistics, and split their variance."""
        stats = trial.record("statistics", tensors=False).stats().load()
        member = _member(trial.ranking().top(self.k), stats["channel"])
        prompts = list(dict.fromkeys(stats["prompt"].values.tolist()))

        def measured(without):
            kept = stats.isel(sample=np.flatnonzero(stats["prompt"].values != without))
            share = _split(kept, ("prompt", "seed", "step"))["share"].where(member).mean(("block", "channel"))
            own = kept["mean_abs"].mean("branch").groupby("prompt").mean("sample")
            spread = (own.std("prompt") / own.mean("prompt")).mean("step").where(member).mean()
            return np.array(
                [float(share.sel(component="step") - share.sel(component="prompt")), float(spread)]
            )

        whole, left = measured(None), np.stack([measured(prompt) for prompt in prompts])
        error = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean(0)) ** 2).sum(0))
        found = [
            student_interval(mean, own, len(left), level=self.rule.each_level)
            for mean, own in zip(whole, error, strict=True)
        ]
        parts = {"all": _split(stats, ("prompt", "seed", "step"))}
        crossed = self._crossed(trial)
        if crossed is not None:
            parts["crossed"] = _split(crossed[0], ("text", "pooled", "step"))
        shares = {
            f"{name} {which}": each[["share"]].where(of)
            for name, each in parts.items()
            for which, of in (("massive", member), ("others", ~member))
        }
        table = xr.concat(
            [each["share"].mean(("block", "channel")) for each in shares.values()],
            xr.Variable("of", list(shares)),
            join="outer",
        )
        return Evidence(
            dict(zip([each.name for each in self.rule.quantities], found, strict=True)),
            {name.replace(" ", "_"): each for name, each in shares.items()},
            {"shares": table.to_dataframe().reset_index().dropna().round(4)},
            [] if crossed is None else [crossed[1]],
        )

    def _crossed(self, trial):
        """Statistics of crossed prompts, and whether the pooled vector alone reaches the gate, as it has to."""
        try:
            prompts, labels = ds.crossed_prompts(trial.dit, trial.choosing.prompts[:CROSSED], **self.call)
        except UnsupportedError:
            return None
        kept = {"tensors": False, "branches": ["cond"], "sites": ["block_output", "attn_gate"]}
        path = trial.choosing.folder / "crossed.zarr"
        with ds.record(trial.dit, path, batch_size=self.batch_size, **kept) as rec:
            cache = rec.generate(
                prompts,
                seeds=self.seeds[:1],
                columns=labels,
                num_inference_steps=self.num_inference_steps,
                **self.call,
            )
        own = {name: ("sample", cache.samples[name]) for name in labels}
        gate = _split(cache.stats("image", "attn_gate").assign_coords(own), ("text", "pooled"))["share"]
        of_text = float(gate.sel(component="text").mean())
        return (
            cache.stats().assign_coords(own).load(),
            Finding(
                f"Of the variance of attention's gate, which no text token reaches, {100 * of_text:.2f} % is found to "
                "lie between text tokens.",
                of_text < 0.001,
            ),
        )

    def figures(self, result):
        """Shares by block."""
        about = {"model": self.model, "k": self.k}
        shown = {
            "all": "Over what massive and other channels vary, block by block.",
            "crossed": "The same with text tokens and pooled vector varied apart.",
        }
        return {
            name: (
                plots.variance_shares(
                    {which: result.arrays[f"{name}_{which}"] for which in ("massive", "others")}, about=about
                ),
                caption,
            )
            for name, caption in shown.items()
            if f"{name}_massive" in result.arrays
        }

    def work(self):
        """One image of every prompt and seed, and crossed ones, all recorded as statistics."""
        images = (self.n_choosing + self.n_most) * len(self.seeds) + CROSSED**2
        return Work(images, {"statistics": (images, {"tensors": False})})


def _split(stats, factors):
    return ds.passes.variance_components(
        stats, factors=factors, statistic="mean_abs", site=stats.attrs.get("site", "block_output")
    )


def _member(top, channel):
    """Which channels of each block are in the set, bool ``[block, channel]``."""
    return (top.ids == channel).any("rank")


if __name__ == "__main__":
    run_claim(PromptOrConstant)
