"""Are massive channels massive at all image tokens, or at a few register tokens?

Papers on massive channels say all tokens; others find a few tokens of high norm that act as registers. The norm has the
massive channels in it, so that tokens are counted here by their norm without these.

    python analyses/08_tokens_or_registers.py --out runs/08_tokens_or_registers
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.intervals import interval_over
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule

PLANTED = 5


@dataclass(frozen=True)
class TokensOrRegisters(Claim):
    """Massive channels are massive at all image tokens."""

    name = "tokens_or_registers"
    claim = "Massive channels are massive at all image tokens, and not at a few register tokens."
    source = (
        "Gan et al., arXiv 2505.18584, 2510.11538; against registers as of Darcet et al., arXiv 2309.16588"
    )
    design = (
        "Hidden states of five blocks, evenly over the depth, at the first, middle and last step. A token's massive "
        "score is the mean of abs(x) over the k massive channels, which are ranked on the choosing prompts; the "
        "channels are massive at a token if it is above three times that of its other channels. The rule takes the "
        "share of such tokens, and the standard deviation of scores over tokens as a share of their mean. Tokens of "
        "high norm are those whose norm without the massive channels is above three medians, eight at most; how much "
        "larger massive scores are at these is reported."
    )
    controls = (
        "the census by the whole norm, which has the massive channels in it (reported)",
        "tokens made larger by hand in one hidden state, which the census has to find (validity)",
    )
    rule = Rule(
        (
            Quantity.above(
                "massive_share",
                "share of image tokens at which the channels are massive",
                0.95,
                refuted_below=0.5,
                smallest_effect=0.05,
            ),
            Quantity.below(
                "spread",
                "standard deviation of massive scores over tokens as a share of their mean",
                0.25,
                refuted_above=1.0,
                smallest_effect=0.05,
            ),
        )
    )

    def test(self, trial, chosen):
        """Record hidden states, and count tokens."""
        blocks = sorted({trial.block_at(depth) for depth in (0, 0.25, 0.5, 0.75, 1)})
        steps = sorted({0, self.num_inference_steps // 2, self.num_inference_steps - 1})
        cache = trial.record("states", blocks=blocks, steps=steps, streams=["image"], sites=["block_output"])
        top = trial.ranking().top(self.k)
        found = {
            name: ds.passes.registers(cache, top, excise=excise)
            .drop_vars("outlier")
            .sel(branch="cond")
            .compute()
            for name, excise in (("excised", True), ("whole", False))
        }
        census = found["excised"]
        table = {name: each.mean(("sample", "step")).to_dataframe() for name, each in found.items()}
        return Evidence(
            {name: _plain(census[name].mean(("step", "block"))) for name in ("massive_share", "spread")},
            {
                "census": census.mean(("sample", "step"), keep_attrs=True),
                "outliers": interval_over(census["outliers"].mean("step")),
            },
            {name: each.reset_index().round(4) for name, each in table.items()},
            [self._found_again(cache, top)],
        )

    def _found_again(self, cache, top):
        """Whether the census finds tokens that were made large, and no others."""
        state = (
            cache.hidden("image").isel(sample=[0], step=[-1], branch=[0], block=[2]).astype("float32").load()
        )
        planted = np.linspace(0, state.sizes["token"] - 1, PLANTED).round().astype(int)
        before = set(np.flatnonzero(ds.passes.registers(state, top)["outlier"].values))
        larger = state.copy(
            data=np.where(np.isin(np.arange(state.sizes["token"]), planted)[:, None], 30.0, 1.0) * state
        )
        after = set(np.flatnonzero(ds.passes.registers(larger, top)["outlier"].values))
        return Finding(
            f"Of {PLANTED} tokens made 30 times as large the census finds {len(after & set(planted.tolist()))}, and "
            f"{len(after - set(planted.tolist()) - before)} that were neither large before nor made so.",
            after - before == set(planted.tolist()) - before,
        )

    def figures(self, result):
        """The census by block."""
        return {
            "census": (
                plots.registers_by_block(result.arrays["census"], about={"model": self.model, "k": self.k}),
                "Shares of tokens, and what tokens of high norm are like, averaged over prompts and steps.",
            )
        }

    def work(self):
        """One image of every prompt, five blocks at three steps recorded, and statistics of the choosing ones."""
        images, choosing = (
            (self.n_choosing + self.n_most) * len(self.seeds),
            self.n_choosing * len(self.seeds),
        )
        states = {"blocks": range(5), "steps": range(3), "streams": ["image"], "sites": ["block_output"]}
        return Work(
            images + choosing, {"statistics": (choosing, {"tensors": False}), "states": (images, states)}
        )


def _plain(values):
    return values.drop_vars([n for n in values.coords if n not in ("sample", "prompt", "seed")])


if __name__ == "__main__":
    run_claim(TokensOrRegisters)
