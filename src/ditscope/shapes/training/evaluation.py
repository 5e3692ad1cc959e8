"""Judge a trained pipeline folder: the oracle's verdict, a contact sheet, and the training curves."""

from __future__ import annotations

import hashlib
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
SEED_OF_SEARCH, SEED_OF_TEST = 11, 12
_ARGUMENTS = ("true_cfg_scale", "guidance_scale")


def evaluate(
    folder: Path,
    runs: Path,
    *,
    judged_by: Path | None = None,
    curve: str = "generator",
    count: int = 256,
    searched: int = 32,
    num_inference_steps: int = 20,
) -> dict[str, Any]:
    """Choose the guidance scale on some prompts, judge on others, and write the verdict.

    Args:
        folder: the pipeline folder; ``ditscope.json`` in it is given the best scale.
        runs: folder with the training curves; the images are kept there, and drawn once.
        judged_by: folder of the oracle and the scorer, if they are not in ``folder``.
        curve: name of the training's curve.
        count: prompts of the verdict, with one object, and as many with two.
        searched: prompts of the search, likewise, none of them in the verdict's set.
        num_inference_steps: denoising steps.

    Returns:
        What is written to ``quality.json``: shares of images whose attributes are right, with 95 %
        Wilson intervals.
    """
    judges = judged_by or folder
    oracle, dit = load_oracle(judges), load(str(folder))
    settings = json.loads((folder / "ditscope.json").read_text())
    argument = next(name for name in _ARGUMENTS if name in settings["call"])

    def drawn(captions: list[str], seed: int, scale: float) -> np.ndarray:
        path = runs / images_name(folder.name, captions, seed, scale)
        if not path.exists():
            call: dict[str, Any] = {"num_inference_steps": num_inference_steps, argument: scale}
            np.savez_compressed(path, images=draw_images(dit, captions, seed=seed, **call))
        return np.load(path)["images"]

    scores = {}
    for scale in GUIDANCE_SCALES:
        right = []
        for objects in (1, 2):
            search = make_prompts(searched, SEED_OF_SEARCH, objects=objects)
            right.append(judge(oracle, drawn(search, 0, scale), search).loc["all", "right"])
        scores[scale] = float(np.mean(right))
    best = max(scores, key=lambda scale: scores[scale])
    settings["call"][argument] = best
    (folder / "ditscope.json").write_text(json.dumps(settings, indent=2) + "\n")

    captions = {objects: make_prompts(count, SEED_OF_TEST, objects=objects) for objects in (1, 2)}
    images = {objects: drawn(captions[objects], 1000, best) for objects in (1, 2)}
    scorer = ClipScorer.from_pretrained(str(judges / "clip"))
    matched = scorer.score(images[1], captions[1])
    shuffled = scorer.score(images[1], captions[1][1:] + captions[1][:1])
    quality = {
        "prompts": count,
        "steps": num_inference_steps,
        "guidance_scale": best,
        "guidance_search": {str(scale): round(value, 4) for scale, value in scores.items()},
        "generated": _rows(judge(oracle, images[1], captions[1])),
        "generated_two_objects": _rows(judge(oracle, images[2], captions[2])),
        "oracle_on_real_scenes": _rows(judge_oracle(oracle)),
        "oracle_on_two_object_scenes": _rows(judge_oracle(oracle, n_objects=2)),
        "clip_score": {"matched": float(matched.mean()), "shuffled": float(shuffled.mean())},
    }
    (folder / "quality.json").write_text(json.dumps(quality, indent=2) + "\n")
    shown = {objects: slice(0, 24 if objects == 1 else 16) for objects in (1, 2)}
    _draw(
        folder,
        runs / f"{curve}.jsonl",
        np.concatenate([images[objects][shown[objects]] for objects in (1, 2)]),
        [caption for objects in (1, 2) for caption in captions[objects][shown[objects]]],
        best,
    )
    return quality


def images_name(pipeline: str, captions: list[str], seed: int, scale: float) -> str:
    """Name of the file in which images are kept."""
    digest = hashlib.sha256("\n".join(captions).encode()).hexdigest()[:12]
    return f"images-{pipeline}-{digest}-{seed}-{scale:g}.npz"


def _rows(table) -> dict[str, dict[str, float]]:
    return {
        str(name): {key: round(float(row[key]), 4) for key in ("right", "low", "high")}
        for name, row in table.iterrows()
    }


def _draw(folder: Path, curve: Path, images: np.ndarray, captions: list[str], scale: float) -> None:
    array = xr.DataArray(
        images, dims=("sample", "y_pixel", "x_pixel", "rgb"), coords={"prompt": ("sample", captions)}
    )
    figure = plots.image_grid(
        array, title="Samples of the embedded pipeline", about={"model": folder.name, "guidance": scale}
    )
    plots.save_png(figure, folder / "samples.png")
    if curve.is_file():
        rows = [json.loads(line) for line in curve.read_text().splitlines()]
        units = {"loss": "mean squared error of the velocity", "gradient_norm": "norm"}
        plots.save_png(
            plots.loss_curve(
                rows, stages="pixels", units=units, title="Training of the embedded transformer"
            ),
            folder / "training.png",
        )
