"""First look: has this model massive channels, are they stable, where do they sit, what do they do?

The study behind ``ditscope demo``. Claims under test (arXiv 2605.13974): a few channels are far larger
than the rest and the same ones lead across prompts and steps; K-means on them finds the subject;
zeroing them destroys the image while zeroing as many small ones does not. Controls: bottom, middle,
random and energy-matched random channels, mean instead of zero, and masks from bottom, random and
std-ranked channels and from principal components of all channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.edits.mean import mean
from ditscope.edits.zero import zero
from ditscope.errors import InputError
from ditscope.experiments.compare import compare
from ditscope.models.embedded import EMBEDDED, EMBEDDED_NAMES
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.mask_study import mask_study
from ditscope.passes.mask_summary import mask_summary
from ditscope.passes.rank_channels import rank_channels
from ditscope.passes.ranking import Ranking
from ditscope.passes.samples_needed import samples_needed
from ditscope.passes.spatial_masks import spatial_masks
from ditscope.passes.stability import stability
from ditscope.recording.record import record
from ditscope.shapes.labels import foreground
from ditscope.shapes.prompt_sets import prompts as shapes_prompts
from ditscope.studies.first_look_report import draw_report
from ditscope.studies.study import Measured, Progress, Result, Study

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache
    from ditscope.models.dit import DiT
    from ditscope.report.page import Report

__all__ = ["FirstLook"]

_PROMPTS = (
    "a red fox sitting in fresh snow, photograph",
    "a glass teapot on a wooden table by a window",
    "a lighthouse on a cliff under storm clouds, oil painting",
    "a child's bicycle leaning against a yellow wall",
    "an astronaut playing a cello on a beach",
    "a bowl of ramen seen from above",
    "a hot air balloon over green hills at dawn",
    "a portrait of an old fisherman, black and white",
)
_SHOWN_IMAGES, _SHOWN_MASKS = 16, 5


@dataclass(frozen=True)
class FirstLook(Study):
    """What the study runs.

    Attributes:
        model: ``shapes`` or another embedded pipeline, a folder or a hub id.
        n_prompts: prompts to record, where ``prompts`` is left out.
        n_seeds: seeds to record for each prompt.
        n_compared: prompts to run under each edit, one seed each.
        num_inference_steps: denoising steps.
        steps: steps whose hidden states are kept, the last one for the masks; by default five,
            evenly spread from the first to the last.
        k: how many channels count as massive.
        draws: random draws of the random controls.
        batch_size: images generated together.
        metrics: scores of the comparison; those that need a CLIP are left out where none is at hand.
        prompts: prompts to use; by default captions of the shapes world, or a short list of scenes.

    Raises:
        InputError: fewer than six prompts, too few for intervals and for the running agreement, or a number
            that is none.
    """

    name = "first_look"
    claim = "A few massive channels lead in every block, mark the subject, and the image hangs on them."

    model: str = EMBEDDED
    n_prompts: int = 24
    n_seeds: int = 1
    n_compared: int = 12
    num_inference_steps: int = 20
    steps: tuple[int, ...] | None = None
    k: int = 6
    draws: int = 2
    batch_size: int = 6
    metrics: tuple[str, ...] = ("clip_score", "psnr", "ssim", "high_frequency_energy")
    prompts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("n_prompts", "n_seeds", "n_compared", "num_inference_steps", "k", "draws", "batch_size"):
            checks.whole_number(name, getattr(self, name))
        if len(self.prompt_list()) < 6:
            raise InputError(
                f"{len(self.prompt_list())} prompts", "six or more", "Raise n_prompts, or pass more."
            )

    def step_list(self) -> tuple[int, ...]:
        """The steps whose hidden states are kept."""
        if self.steps is not None:
            return self.steps
        return tuple(sorted({round(part * (self.num_inference_steps - 1) / 4) for part in range(5)}))

    def prompt_list(self) -> list[str]:
        """The prompts of the study."""
        if self.prompts is not None:
            return checks.prompts(self.prompts)
        return (
            shapes_prompts(self.n_prompts)
            if self.model in EMBEDDED_NAMES
            else list(_PROMPTS[: self.n_prompts])
        )

    def measure(self, dit: DiT, folder: Path, progress: Progress) -> Measured:
        """Record, rank, cluster and compare."""
        prompts = self.prompt_list()
        progress(f"record {len(prompts) * self.n_seeds} images")
        cache = _record(dit, self, prompts, folder)
        progress("rank channels and measure their stability")
        ranking = rank_channels(cache)
        arrays = {
            "images": cache.images.isel(sample=slice(0, _SHOWN_IMAGES)).to_dataset(name="images"),
            "ranking": _ranking(ranking, self.k),
            "concentration": ranking.concentration(self.k),
            "stability": stability(cache, across=("sample", "step", "block"), k=self.k),
            "needed": samples_needed(cache, k=self.k, batch_size=1, window=1, orders=8),
        }
        arrays["hidden"] = _one_hidden_state(cache, arrays["concentration"])
        progress("cluster tokens into masks")
        if self.model in EMBEDDED_NAMES:
            arrays |= _masks(cache, self, ranking)
        progress(f"run {self.n_compared} prompts under each edit")
        arrays["comparison"] = _compare(dit, self, prompts, ranking)
        config = cache.manifest["config"]
        return Measured(
            _numbers(arrays),
            arrays,
            {
                "recording": repr(cache),
                "samples": len(prompts) * self.n_seeds,
                "prompts": prompts,
                "seeds": list(range(self.n_seeds)),
                "call": {name: str(value) for name, value in config["call"].items()},
                "weights_fingerprint": config["weights_fingerprint"],
                "versions": cache.manifest["environment"]["versions"],
            },
        )

    def draw(self, result: Result) -> Report:
        """The report of a saved result."""
        return draw_report(result)


def _record(dit: DiT, study: FirstLook, prompts: list[str], folder: Path) -> Cache:
    with record(
        dit, folder / "cache.zarr", steps=study.step_list(), branches=["cond"], batch_size=study.batch_size
    ) as recording:
        return recording.generate(
            prompts, seeds=range(study.n_seeds), num_inference_steps=study.num_inference_steps
        )


def _ranking(ranking: Ranking, k: int) -> xr.Dataset:
    scores = ranking.scores.assign_attrs(statistic=ranking.statistic, stream=ranking.stream)
    return xr.Dataset({"scores": scores, "top": ranking.top(k).ids})


def _one_hidden_state(cache: Cache, concentration: xr.Dataset) -> xr.Dataset:
    """The first image at the last step, where the largest channel stands highest: float32 ``[token, channel]``."""
    block = int(concentration["top_over_median"].argmax("block"))
    hidden = cache.hidden().isel(sample=0, step=-1, branch=0, block=block)
    return hidden.astype("float32").compute().to_dataset(name="hidden")


def _masks(cache: Cache, study: FirstLook, ranking: Ranking) -> dict[str, xr.Dataset]:
    reference, k = foreground(cache.images), study.k
    sets = {
        "top": ranking.top(k),
        "top by std": rank_channels(cache, statistic="std").top(k),
        "random": ranking.random(k, draws=study.draws),
        "bottom": ranking.bottom(k),
    }
    scores = mask_study(cache, sets, reference, pca=k, options=MaskOptions(n_init=2))
    summary = mask_summary(scores)
    best = summary["iou"].sel(polarity="oracle").isel(selector=0)
    blocks = sorted({0, int(best.argmax("block")), best.sizes["block"] - 1})
    names = [str(scores["block_name"].values[block]) for block in blocks]
    first = {"sample": slice(0, _SHOWN_MASKS)}
    shown = spatial_masks(cache, ranking.top(k), blocks=names).isel(first)
    shown["reference"] = reference.isel(first)
    shown["iou"] = scores["iou"].isel(selector=0, draw=0, block=blocks, drop=True).isel(first)
    return {"masks": scores, "mask_summary": summary, "shown_masks": shown}


def _compare(dit: DiT, study: FirstLook, prompts: list[str], ranking: Ranking) -> xr.Dataset:
    k = study.k
    massive = ranking.top(k)
    edits = {
        "zero massive": zero(massive),
        "mean of massive": mean(massive),
        "zero middle": zero(ranking.middle(k)),
        "zero random": zero(ranking.random(k, draws=study.draws)),
        "zero energy-matched": zero(ranking.energy_matched(massive)),
        "zero bottom": zero(ranking.bottom(k)),
    }
    return compare(
        dit,
        prompts[: study.n_compared],
        0,
        edits,
        [name for name in study.metrics if study.model in EMBEDDED_NAMES or not name.startswith("clip")],
        batch_size=study.batch_size,
        num_inference_steps=study.num_inference_steps,
    )


def _numbers(arrays: dict[str, xr.Dataset]) -> dict[str, Any]:
    """The study's numbers as JSON values."""
    comparison, agreement, concentration = arrays["comparison"], arrays["stability"], arrays["concentration"]
    numbers: dict[str, Any] = {
        "top_channels": arrays["ranking"]["top"].values.tolist(),
        "top_over_median": _rounded(concentration["top_over_median"]),
        "energy_share_of_top": _rounded(concentration["energy_share"]),
        "stability": {
            str(across): {
                name: round(float(agreement[name].sel(across=across, measure="jaccard")), 4)
                for name in ("agreement", "low", "high", "null")
            }
            for across in agreement["across"].values
        },
        "effects_mean_low_high": {
            str(metric): {
                str(edit): [
                    round(float(comparison[name].sel(metric=metric, edit=edit)), 5)
                    for name in ("mean", "low", "high")
                ]
                for edit in comparison["edit"].values
            }
            for metric in comparison["metric"].values
        },
        "energy_removed": {
            str(edit): round(float(comparison["energy_removed"].sel(edit=edit)), 5)
            for edit in comparison["edit"].values
        },
    }
    if "mask_summary" in arrays:
        summary = arrays["mask_summary"]
        numbers["mask_iou"] = {
            str(selector): {
                str(polarity): _rounded(summary["iou"].sel(selector=selector, polarity=polarity))
                for polarity in summary["polarity"].values
            }
            for selector in summary["selector"].values
        }
    return numbers


def _rounded(values: xr.DataArray) -> list[float]:
    return [round(float(value), 4) for value in np.asarray(values).ravel()]
