"""Are low-statistic channels harmless, or do they merely hold nothing that could be taken?

Zeroing as many low-statistic channels as there are massive ones hardly changes the image, which is taken to show that
they do not matter. But it hardly changes anything. Here as much is taken from low-statistic channels as from massive
ones: so many of the smallest as hold the same energy, and a shift of the k smallest by the same norm.

    python analyses/03_low_statistic_channels.py --out runs/03_low_statistic_channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import ditscope as ds
from ditscope.cli.claim import run_claim
from ditscope.edits.edit import Edit
from ditscope.edits.seeded import seeded
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.comparison_figures import comparison_arrays, comparison_figures
from ditscope.studies.cost import Work
from ditscope.studies.reading import effect_of, effects_table
from ditscope.studies.rule import Quantity, Rule

METRICS = ("psnr", "ssim", "feature_distance", "clip_score")


class AddedNoise(Edit):
    """Noise of one size added to channels, whatever they hold."""

    size: float
    channelwise = True

    @property
    def words(self):
        """The size, and where it goes."""
        return f"noise of {self.size:.3g} in"

    def values(self, context):
        """The old values with noise that follows from sample and place."""
        shape = context.old.shape[1:]
        made = [seeded(context, row, 0, "place").standard_normal(shape) for row in range(len(context.old))]
        return context.old + self.size * context.old.new_tensor(np.stack(made))


@dataclass(frozen=True)
class LowStatisticChannels(Claim):
    """Low-statistic channels are harmless even where as much is taken from them."""

    name = "low_statistic_channels"
    claim = "Low-statistic channels matter less to the image than massive ones, even where as much is changed in them."
    source = "Turri et al., arXiv 2605.13974, claim (i) disruption, and the controls it lacks"
    design = (
        "At the output of the block in the middle, in every step: the k massive channels are zeroed; so are the k "
        "smallest; so are as many of the smallest as hold, on the choosing prompts, the energy of the k massive "
        "ones. And noise is added to the k massive channels, and to the k smallest, with the same norm for each: "
        "the root mean square that the massive channels have there. PSNR to the unedited image decides; an effect of "
        "interest is 2 dB beyond a threshold. What the sets hold of energy is read from recordings of unedited images."
    )
    controls = (
        "as many of the smallest channels as hold the same energy (equal energy)",
        "noise of one norm added to massive and to the smallest channels (equal edit norm)",
        "as many of the smallest channels (the published control)",
    )
    rule = Rule(
        (
            Quantity.above(
                "published",
                "PSNR, as many smallest less massive",
                1.0,
                refuted_below=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
            Quantity.above(
                "equal_energy",
                "PSNR, smallest of equal energy less massive",
                1.0,
                refuted_below=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
            Quantity.above(
                "equal_norm",
                "PSNR, noise in the smallest less the same noise in massive",
                1.0,
                refuted_below=0.0,
                unit="dB",
                smallest_effect=2.0,
            ),
        )
    )

    def choose(self, trial):
        """How many of the smallest channels hold the energy of the massive ones, and the size of the noise."""
        block = trial.block_at(0.5)
        energy = np.sort(trial.ranking().energy.sel(block=block).values.astype(float))
        wanted = energy[-self.k :].sum()
        count = int(np.argmin(np.abs(np.cumsum(energy[: -self.k]) - wanted))) + 1
        return {"block": block, "smallest": count, "noise": float(np.sqrt(energy[-self.k :].mean()))}

    def test(self, trial, chosen):
        """Compare the edits."""
        ranking, where, size = trial.ranking(), {"blocks": [chosen["block"]]}, chosen["noise"]
        massive, bottom = ranking.top(self.k), ranking.bottom(self.k)

        edits = {
            "zero massive": ds.edits.zero(massive, **where),
            "zero smallest": ds.edits.zero(bottom, **where),
            "zero smallest of equal energy": ds.edits.zero(ranking.bottom(chosen["smallest"]), **where),
            "noise in massive": AddedNoise.of(massive, where, size=size),
            "noise in smallest": AddedNoise.of(bottom, where, size=size),
        }
        compared = trial.compare("edits", edits, METRICS)
        psnr = effect_of(compared, "psnr").clip(max=60.0)  # of equal images it is infinite

        def less(edit, other):
            return psnr.sel(edit=edit, drop=True) - psnr.sel(edit=other, drop=True)

        return Evidence(
            {
                "published": less("zero smallest", "zero massive"),
                "equal_energy": less("zero smallest of equal energy", "zero massive"),
                "equal_norm": less("noise in smallest", "noise in massive"),
            },
            comparison_arrays(compared),
            {"effects": effects_table(compared)},
            [self._energy_finding(trial, chosen)],
        )

    def _energy_finding(self, trial, chosen):
        """What the smallest channels really hold, of images that no edit has touched."""
        cache = trial.record("own_statistics", tensors=False)
        ranked = ds.passes.rank_channels(cache, over=("step", "branch", "token"))
        energy = ranked.energy.sel(block=chosen["block"]).transpose("sample", "channel")

        def held(channels):
            return energy.sel(channel=channels[chosen["block"]]).sum("channel").values

        ranking = trial.ranking()
        ratios = held(ranking.bottom(chosen["smallest"])) / held(ranking.top(self.k))
        return Finding(
            f"In the unedited tested images the {chosen['smallest']} smallest channels hold {100 * ratios.mean():.0f} "
            f"% of the energy of the massive ones, from {100 * ratios.min():.0f} to {100 * ratios.max():.0f} %.",
            bool(0.8 < ratios.mean() < 1.25),
        )

    def figures(self, result):
        """Effects and images."""
        return comparison_figures(self, result)

    def work(self):
        """One unedited image and five edited ones of each prompt, and statistics of it."""
        every, seeds = self.n_choosing + self.n_most, len(self.seeds)
        kept = {"statistics": ((self.n_choosing + every) * seeds, {"tensors": False})}
        return Work((self.n_choosing + 7 * every) * seeds, kept)


if __name__ == "__main__":
    run_claim(LowStatisticChannels)
