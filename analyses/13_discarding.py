"""Do modulated features match points of two images better, and better still without massive channels?

DiTF finds so on photographs. Here pairs of images show one object at two places, drawn, so that it is known where each
of its points has gone, at any resolution and on any model.

    python analyses/13_discarding.py --out runs/13_discarding
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

import ditscope as ds
from ditscope import plots
from ditscope.cli.claim import run_claim
from ditscope.models.embedded import EMBEDDED
from ditscope.studies.claim import Claim, Evidence, Finding
from ditscope.studies.cost import Work
from ditscope.studies.rule import Quantity, Rule

KINDS = {
    "raw": {"modulated": False},
    "modulated": {},
    "discarded before the norm": {"discard": True},
    "discarded after modulation": {"discard": True, "when": "after"},
    "raw, discarded": {"discard": True, "modulated": False},
}
DRAWN = ("raw", "modulated", "discarded before the norm", "random discarded")
ALPHA = 0.1
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SITE = "block_input"


@dataclass(frozen=True)
class Discarding(Claim):
    """Modulated features match points better, and better still without massive channels."""

    name = "discarding"
    claim = "AdaLN-modulated features match points better than raw ones, and better still without massive channels."
    source = "Gan et al., arXiv 2505.18584 (DiTF): SPair-71k PCK@0.1 of 29.9, 65.3 and 67.1 on FLUX"
    design = (
        "Pairs of drawn images of one object at two places on two grounds, described by their captions, are noised to "
        "the last step's level and read by the model. Features are a block's input, raw; normalised and modulated by "
        "the block's own shift and scale; and the latter with the k massive channels set to zero before the norm, as "
        "in DiTF's code: those that are massive at the block's input, which is what is discarded from, by generated "
        "images of the choosing prompts. Noise draws (DiTF: 8; here one for each seed) are averaged, points matched by "
        "cosine similarity, and PCK@0.1 of each pair taken. Five blocks over the depth are looked at: the one where "
        "modulated features match the choosing pairs best, as DiTF chooses its own, and the mean over all five."
    )
    controls = (
        "channels discarded after the modulation in place of before the norm (reported)",
        "raw features without massive channels (reported)",
        "as many random channels, none of them massive, discarded before the norm (reported)",
    )
    rule = Rule(
        (
            Quantity.above("modulation", "PCK@0.1 modulated less raw, best block", 0.0, smallest_effect=0.05),
            Quantity.above(
                "modulation_of_five", "the same, mean over five blocks", 0.0, smallest_effect=0.05
            ),
            Quantity.above(
                "discarding",
                "PCK@0.1 without massive channels less with them, best block",
                0.0,
                smallest_effect=0.02,
            ),
            Quantity.above(
                "discarding_of_five", "the same, mean over five blocks", 0.0, smallest_effect=0.02
            ),
        )
    )

    num_inference_steps: int = 4

    def prompt_lists(self):
        """Captions of drawn scenes, whatever the model."""
        if self.embedded or self.prompts is not None:
            return super().prompt_lists()
        return replace(self, model=EMBEDDED).prompt_lists()

    def choose(self, trial):
        """The block where modulated features match best."""
        blocks = self._blocks(trial)
        pairs, features = self._features(trial, blocks, {"modulated": {}})
        scores = {
            block: float(_match(features["modulated"].sel(block=block), pairs)["mean"].sel(alpha=ALPHA))
            for block in blocks
        }
        return {
            "block": max(scores, key=scores.get),
            "pck_of_choosing_pairs": {str(b): s for b, s in scores.items()},
        }

    def test(self, trial, chosen):
        """Match points by every kind of features."""
        best, blocks = chosen["block"], self._blocks(trial)
        ranking = self._ranking(trial)
        massive = ranking.top(self.k)
        kinds = {
            kind: {**given, "discard": massive if given.get("discard") else None}
            for kind, given in KINDS.items()
        }
        kinds["random discarded"] = {"discard": ranking.random(self.k, without=massive)}
        pairs, features = self._features(trial, blocks, kinds)
        by_block = []
        for block in blocks:
            found = [_match(features[kind].sel(block=block), pairs) for kind in kinds]
            by_block.append(xr.concat(found, xr.Variable("features", list(kinds))))
        joined = xr.concat(by_block, xr.Variable("block", blocks))
        pck = joined["pck"].sel(alpha=ALPHA, drop=True)

        def gain(kind, other):
            return pck.sel(features=kind, drop=True) - pck.sel(features=other, drop=True)

        gains = {
            "modulation": gain("modulated", "raw"),
            "discarding": gain("discarded before the norm", "modulated"),
        }
        table = joined[["mean", "low", "high", "per_point"]].to_dataframe().reset_index().round(4)
        return Evidence(
            {name: _by_prompt(each.sel(block=best, drop=True)) for name, each in gains.items()}
            | {f"{name}_of_five": _by_prompt(each.mean("block")) for name, each in gains.items()},
            {"found": joined.sel(block=best, drop=True), "by_block": _curves(joined)},
            {"pck": table},
            [_truth(pairs)],
        )

    def _blocks(self, trial):
        return sorted({trial.block_at(depth) for depth in DEPTHS})

    def _ranking(self, trial):
        """Channels at the input of blocks, on generated images of the choosing prompts."""
        cache = trial.choosing.record("input_statistics", tensors=False, sites=[SITE])
        return ds.passes.rank_channels(cache, site=SITE)

    def _features(self, trial, blocks, kinds):
        """The pairs, and by kind features ``[block, sample, token, channel]`` of their images, in turn."""
        height, width = trial.dit.image_size(self.call)
        made = ds.shapes.scene_pairs(trial.prompts, pixels=min(height, width))
        own = {"height": min(height, width), "width": min(height, width)}
        rows = {kind: [] for kind in kinds}
        for scene in made.scenes:
            captured = ds.capture_image(
                trial.dit,
                scene.image,
                scene.caption,
                self.seeds,
                sites=["block_input", "attn_shift", "attn_scale"],
                blocks=blocks,
                steps=[-1],
                branches=["cond"],
                num_inference_steps=self.num_inference_steps,
                **{**own, **self.call},
            )
            for kind, given in kinds.items():
                each = [
                    ds.passes.ditf_features(captured, block=block, **given).mean("sample") for block in blocks
                ]
                rows[kind].append(xr.concat(each, "block", coords="different", compat="equals"))
        return made.points, {
            kind: xr.concat(each, "sample").assign_coords(sample=np.arange(len(each)))
            for kind, each in rows.items()
        }

    def figures(self, result):
        """PCK of each kind of features."""
        joined = result.arrays["found"]
        kinds = {str(kind): joined.sel(features=kind) for kind in joined["features"].values}
        return {
            "pck": (
                plots.correspondence_curve(kinds, about={"model": self.model, "k": self.k}),
                "Share of points matched within the tolerance at the best block, with intervals over pairs.",
            ),
            "by_block": (
                plots.grid_effects(
                    result.arrays["by_block"].assign_coords(unit=("metric", ["share of points"])),
                    x="block",
                    title=f"Points matched at each of five blocks, PCK@{ALPHA}",
                    about={"model": self.model, "k": self.k},
                ),
                "Share of points matched by each kind of features, by block, with intervals over pairs.",
            ),
        }

    def work(self):
        """Two images of every prompt in every draw, noised, those of choosing prompts twice more; and statistics."""
        choosing = self.n_choosing * len(self.seeds)
        images = 2 * (2 * self.n_choosing + self.n_most) * len(self.seeds) + choosing
        return Work(images, {"statistics": (choosing, {"tensors": False})})


def _match(features, pairs):
    return ds.passes.correspondence(features.drop_vars("block"), pairs, alphas=(0.05, ALPHA, 0.2))


def _curves(joined):
    """PCK at one tolerance with its intervals, by kind of features and block."""
    found = joined[["mean", "low", "high"]].sel(alpha=ALPHA, features=list(DRAWN), drop=True)
    plain = found.drop_vars([name for name in found.coords if name not in found.dims])
    return plain.expand_dims(metric=[f"PCK@{ALPHA}"])


def _by_prompt(pck):
    kept = pck.rename(pair="sample").assign_coords(sample=np.arange(pck.sizes["pair"]))
    return kept.drop_vars([name for name in kept.coords if name not in ("sample", "prompt")])


def _truth(pairs):
    """Whether matching by true places would score 1, on the grid that the features have."""
    y, x = (each.ravel() for each in np.mgrid[0:16, 0:16])
    count = 2 * pairs.sizes["pair"]
    # Features that say where a token lies in the object's own frame, as the truth is.
    grid = np.stack([(y + 0.5) / 16 * pairs.attrs["height"], (x + 0.5) / 16 * pairs.attrs["width"]], -1)
    rows = []
    for sample in range(count):
        points = pairs["source_points" if sample % 2 == 0 else "target_points"].values[sample // 2]
        points = points[np.isfinite(points[:, 0])]
        rows.append(
            np.exp(-((grid[:, None] - points[None]) ** 2).sum(-1) / (0.1 * pairs.attrs["height"]) ** 2)
        )
    most = max(row.shape[1] for row in rows)
    features = xr.DataArray(
        np.stack([np.pad(row, [(0, 0), (0, most - row.shape[1])]) for row in rows]),
        dims=("sample", "token", "channel"),
        coords={"sample": np.arange(count), "y": ("token", y), "x": ("token", x)},
    )
    found = float(_match(features.assign_coords(block=0), pairs)["mean"].sel(alpha=ALPHA))
    return Finding(
        f"Features made of the true places, on a grid of 16 x 16 tokens, reach PCK@{ALPHA} of {found:.2f}.",
        found > 0.8,
    )


if __name__ == "__main__":
    run_claim(Discarding)
