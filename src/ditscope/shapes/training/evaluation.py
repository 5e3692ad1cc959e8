"""Judge a trained pipeline folder: the oracle's verdict, a contact sheet, and the training curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ditscope import plots
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.models.loading import load
from ditscope.shapes.oracle import load_oracle
from ditscope.shapes.prompt_sets import prompts as make_prompts
from ditscope.shapes.quality import draw_images, judge, judge_oracle

GUIDANCE_SCALES = (2.0, 3.5, 5.0)
_SEED_OF_SEARCH, _SEED_OF_TEST = 11, 12


def evaluate(
    folder: Path, runs: Path, *, count: int = 256, searched: int = 32, num_inference_steps: int = 20
) -> dict[str, Any]:
    """Choose the guidance scale on some prompts, judge on others, and write the verdict.

    Args:
        folder: the pipeline folder; ``ditscope.json`` in it is given the best scale.
        runs: folder with the training curves.
        count: prompts of the verdict.
        searched: prompts of the search, none of them in the verdict's set.
        num_inference_steps: denoising steps.

    Returns:
        What is written to ``quality.json``: shares of images whose attributes are right, with 95 %
        Wilson intervals.
    """
    oracle, dit = load_oracle(folder), load(str(folder))
    search = make_prompts(searched, _SEED_OF_SEARCH)
    scores = {}
    for scale in GUIDANCE_SCALES:
        images = draw_images(dit, search, num_inference_steps=num_inference_steps, true_cfg_scale=scale)
        table = judge(oracle, images, search)
        scores[scale] = float(table.loc[["colours", "place", "shape"], "right"].mean())
    best = max(scores, key=lambda scale: scores[scale])
    settings = json.loads((folder / "ditscope.json").read_text())
    settings["call"]["true_cfg_scale"] = best
    (folder / "ditscope.json").write_text(json.dumps(settings, indent=2) + "\n")

    captions = make_prompts(count, _SEED_OF_TEST)
    images = draw_images(
        dit, captions, seed=1000, num_inference_steps=num_inference_steps, true_cfg_scale=best
    )
    table = judge(oracle, images, captions)
    scorer = ClipScorer.from_pretrained(str(folder / "clip"))
    matched = scorer.score(images, captions)
    shuffled = scorer.score(images, captions[1:] + captions[:1])
    quality = {
        "prompts": count,
        "steps": num_inference_steps,
        "guidance_scale": best,
        "guidance_search": {str(scale): round(value, 4) for scale, value in scores.items()},
        "generated": _rows(table),
        "oracle_on_real_scenes": _rows(judge_oracle(oracle)),
        "clip_score": {"matched": float(matched.mean()), "shuffled": float(shuffled.mean())},
    }
    (folder / "quality.json").write_text(json.dumps(quality, indent=2) + "\n")
    _draw(folder, runs, images[:40], captions[:40], best)
    return quality


def _rows(table) -> dict[str, dict[str, float]]:
    return {
        str(name): {key: round(float(row[key]), 4) for key in ("right", "low", "high")}
        for name, row in table.iterrows()
    }


def _draw(folder: Path, runs: Path, images: np.ndarray, captions: list[str], scale: float) -> None:
    array = xr.DataArray(
        images, dims=("sample", "y_pixel", "x_pixel", "rgb"), coords={"prompt": ("sample", captions)}
    )
    figure = plots.image_grid(
        array, title="Samples of the embedded pipeline", about={"model": "shapes", "guidance": scale}
    )
    plots.save_png(figure, folder / "samples.png")
    curve = runs / "generator.jsonl"
    if curve.is_file():
        rows = [json.loads(line) for line in curve.read_text().splitlines()]
        units = {"loss": "mean squared error of the velocity", "gradient_norm": "norm"}
        plots.save_png(
            plots.loss_curve(
                rows, stages="pixels", units=units, title="Training of the embedded transformer"
            ),
            folder / "training.png",
        )
