"""First look: has this model massive channels, are they stable, where do they sit, what do they do?

The study behind ``ditscope demo``. Claims under test (arXiv 2605.13974): a few channels are far larger
than the rest and the same ones lead across prompts and steps; K-means on them finds the subject;
zeroing them destroys the image while zeroing as many small ones does not. Controls: bottom, middle,
random and energy-matched random channels, mean instead of zero, and masks from bottom, random and
std-ranked channels and from principal components of all channels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope.edits.mean import mean
from ditscope.edits.zero import zero
from ditscope.errors import InputError
from ditscope.experiments.compare import compare
from ditscope.models.embedded import EMBEDDED
from ditscope.models.loading import load
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.mask_study import mask_study
from ditscope.passes.mask_summary import mask_summary
from ditscope.passes.rank_channels import rank_channels
from ditscope.passes.samples_needed import samples_needed
from ditscope.passes.stability import stability
from ditscope.recording.record import record
from ditscope.shapes.prompt_sets import prompts as shapes_prompts
from ditscope.shapes.reference import reference_mask

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache
    from ditscope.models.dit import DiT
    from ditscope.passes.ranking import Ranking

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


@dataclass(frozen=True)
class FirstLook:
    """What the study runs.

    Attributes:
        model: ``shapes``, a folder or a hub id.
        n_prompts: prompts to record.
        n_seeds: seeds to record for each prompt.
        n_compared: prompts to run under each edit, one seed each.
        n_steps: denoising steps.
        recorded_steps: steps whose hidden states are kept, the last one for the masks; by default five,
            evenly spread from the first to the last.
        k: how many channels count as massive.
        draws: random draws of the random controls.
        batch_size: images generated together.
        metrics: scores of the comparison; those that need a CLIP are left out where none is at hand.
        prompts: prompts to use; by default captions of the shapes world, or a short list of scenes.
    """

    model: str = EMBEDDED
    n_prompts: int = 24
    n_seeds: int = 1
    n_compared: int = 12
    n_steps: int = 20
    recorded_steps: tuple[int, ...] | None = None
    k: int = 6
    draws: int = 2
    batch_size: int = 6
    metrics: tuple[str, ...] = ("clip_score", "psnr", "ssim", "high_frequency_energy")
    prompts: tuple[str, ...] | None = None

    def step_list(self) -> tuple[int, ...]:
        """The steps whose hidden states are kept."""
        if self.recorded_steps is not None:
            return self.recorded_steps
        return tuple(sorted({round(part * (self.n_steps - 1) / 4) for part in range(5)}))

    def prompt_list(self) -> list[str]:
        """The prompts of the study.

        Raises:
            InputError: fewer than six, too few for intervals and for the running agreement.
        """
        embedded = self.model == EMBEDDED
        found = list(self.prompts or (shapes_prompts(self.n_prompts) if embedded else _PROMPTS))
        found = found[: self.n_prompts]
        if len(found) < 6:
            raise InputError(f"{len(found)} prompts", "six or more", "Raise n_prompts.")
        return found


@dataclass
class Findings:
    """What the study measured, as labelled arrays.

    Attributes:
        config: what was run.
        model: the model, in words.
        check: the report of ``dit.check()``.
        cache: the recorded store.
        ranking: channels by mean absolute value.
        ranking_std: channels by standard deviation over tokens.
        concentration: how concentrated the energy is, per block.
        stability: agreement across samples, steps and blocks.
        needed: the running agreement by number of samples.
        masks: IoU by selector, block and sample; None without reference masks.
        mask_means: its means with intervals.
        reference: bool ``[sample, y_pixel, x_pixel]``, or None.
        comparison: images and scores under each edit.
        seconds: time of each part.
    """

    config: FirstLook
    model: str
    check: Any
    cache: Cache
    ranking: Ranking
    ranking_std: Ranking
    concentration: xr.Dataset
    stability: xr.Dataset
    needed: xr.Dataset
    masks: xr.Dataset | None
    mask_means: xr.Dataset | None
    reference: xr.DataArray | None
    comparison: xr.Dataset
    seconds: dict[str, float]


def run_first_look(
    config: FirstLook, out: str | Path, *, dit: DiT | None = None, say: Callable[[str], None] = print
) -> Findings:
    """Run the study and write store, report and figures.

    Args:
        config: what to run.
        out: folder to write to: ``cache.zarr``, ``report.html``, the figures as PNG, ``results.json``. A
            store that is already there is resumed if it is of the same configuration.
        dit: the model, if it is open already.
        say: called with one line at the start of each part.

    Raises:
        InputError: for a configuration that cannot be run.
        ConfigMismatchError: the folder holds the store of another configuration.
    """
    from ditscope.studies.first_look_report import write_report

    folder = Path(out)
    prompts = config.prompt_list()
    if dit is not None and dit.name != config.model:
        raise InputError(
            f"the model {dit.name!r} for a study of {config.model!r}",
            "one model",
            "Set FirstLook(model=...).",
        )
    clock = _Clock(say)
    clock.start("open the model and check it against plain hooks")
    dit = dit or load(config.model)
    check = dit.check(prompts[0]).require()
    clock.start(f"record {len(prompts) * config.n_seeds} images")
    cache = _record(dit, config, prompts, folder)
    clock.start("rank channels and measure their stability")
    ranking = rank_channels(cache)
    ranking_std = rank_channels(cache, statistic="std")
    agreement = stability(cache, across=("sample", "step", "block"), k=config.k)
    needed = samples_needed(cache, k=config.k, batch_size=1, window=1, orders=8)
    clock.start("cluster tokens into masks")
    reference, masks = _masks(cache, config, ranking, ranking_std)
    clock.start(f"run {config.n_compared} prompts under each edit")
    comparison = _compare(dit, config, prompts, ranking)
    clock.stop()
    findings = Findings(
        config=config,
        model=repr(dit),
        check=check,
        cache=cache,
        ranking=ranking,
        ranking_std=ranking_std,
        concentration=ranking.concentration(config.k),
        stability=agreement,
        needed=needed,
        masks=masks,
        mask_means=None if masks is None else mask_summary(masks),
        reference=reference,
        comparison=comparison,
        seconds=clock.seconds,
    )
    write_report(findings, folder)
    (folder / "results.json").write_text(json.dumps(summary(findings), indent=2) + "\n")
    return findings


def summary(findings: Findings) -> dict[str, Any]:
    """The study's numbers as JSON values."""
    comparison = findings.comparison
    effects = {
        str(metric): {
            str(edit): [
                round(float(comparison[name].sel(metric=metric, edit=edit)), 5)
                for name in ("mean", "low", "high")
            ]
            for edit in comparison["edit"].values
        }
        for metric in comparison["metric"].values
    }
    found: dict[str, Any] = {
        "config": asdict(findings.config),
        "model": findings.model,
        "top_channels": findings.ranking.top(findings.config.k).ids.values.tolist(),
        "top_over_median": _rounded(findings.concentration["top_over_median"]),
        "energy_share_of_top": _rounded(findings.concentration["energy_share"]),
        "stability": {
            str(across): {
                name: round(float(findings.stability[name].sel(across=across, measure="jaccard")), 4)
                for name in ("agreement", "low", "high", "null")
            }
            for across in findings.stability["across"].values
        },
        "effects_mean_low_high": effects,
        "energy_removed": {
            str(edit): round(float(comparison["energy_removed"].sel(edit=edit)), 5)
            for edit in comparison["edit"].values
        },
        "seconds": {part: round(seconds, 1) for part, seconds in findings.seconds.items()},
    }
    means = findings.mask_means
    if means is not None:
        found["mask_iou"] = {
            str(selector): {
                str(polarity): _rounded(means["iou"].sel(selector=selector, polarity=polarity))
                for polarity in means["polarity"].values
            }
            for selector in means["selector"].values
        }
    return found


def _record(dit: DiT, config: FirstLook, prompts: list[str], folder: Path) -> Cache:
    folder.mkdir(parents=True, exist_ok=True)
    with record(
        dit,
        folder / "cache.zarr",
        steps=config.step_list(),
        branches=["cond"],
        batch_size=config.batch_size,
    ) as recording:
        return recording.generate(prompts, seeds=range(config.n_seeds), num_inference_steps=config.n_steps)


def _masks(
    cache: Cache, config: FirstLook, ranking: Ranking, ranking_std: Ranking
) -> tuple[xr.DataArray | None, xr.Dataset | None]:
    if config.model != EMBEDDED:
        return None, None
    images = cache.images
    masks = [
        reference_mask(image, str(prompt))
        for image, prompt in zip(images.values, images["prompt"].values, strict=True)
    ]
    reference = xr.DataArray(
        np.stack(masks),
        dims=("sample", "y_pixel", "x_pixel"),
        coords={"sample": images["sample"], "prompt": ("sample", images["prompt"].values)},
    )
    k = config.k
    sets = {
        "top": ranking.top(k),
        "top by std": ranking_std.top(k),
        "random": ranking.random(k, draws=config.draws),
        "bottom": ranking.bottom(k),
    }
    return reference, mask_study(cache, sets, reference, pca=k, options=MaskOptions(n_init=2))


def _compare(dit: DiT, config: FirstLook, prompts: list[str], ranking: Ranking) -> xr.Dataset:
    k = config.k
    massive = ranking.top(k)
    edits = {
        "zero massive": zero(massive),
        "mean of massive": mean(massive),
        "zero middle": zero(ranking.middle(k)),
        "zero random": zero(ranking.random(k, draws=config.draws)),
        "zero energy-matched": zero(ranking.energy_matched(massive)),
        "zero bottom": zero(ranking.bottom(k)),
    }
    embedded = config.model == EMBEDDED
    metrics = [name for name in config.metrics if embedded or not name.startswith("clip")]
    return compare(
        dit,
        prompts[: config.n_compared],
        0,
        edits,
        metrics,
        batch_size=config.batch_size,
        num_inference_steps=config.n_steps,
    )


def _rounded(values: xr.DataArray) -> list[float]:
    return [round(float(value), 4) for value in np.asarray(values).ravel()]


class _Clock:
    """Says what starts, and keeps the time of each part."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._part, self._since = say, "", 0.0
        self.seconds: dict[str, float] = {}

    def start(self, part: str) -> None:
        self.stop()
        self._say(part)
        self._part, self._since = part, time.perf_counter()

    def stop(self) -> None:
        if self._part:
            self.seconds[self._part] = time.perf_counter() - self._since
        self._part = ""
