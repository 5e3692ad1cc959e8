"""The report of a comparison or a sweep: what was edited, and what each edit did, with intervals and images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ditscope import plots
from ditscope.paths import local_path
from ditscope.report.explorer import add_store
from ditscope.report.page import Report, Section, folder_of_page, made_with
from ditscope.report.recording import beside

if TYPE_CHECKING:
    from ditscope.explorer.stores import Comparison

_SHOWN, _MOST_ROWS = 6, 200


def write_report(
    comparison: Comparison, path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> Path:
    """Write the report of a comparison or sweep with a store at ``path``; by default into a folder beside it.

    Raises:
        InputError: ``folder`` is a file.
    """
    store = local_path(path)
    target = folder_of_page(beside(store) if folder is None else folder)
    return comparison_report(comparison, store, target).write(target)


def comparison_report(comparison: Comparison, store: Path, folder: Path) -> Report:
    """The report of what ``ds.compare`` or ``ds.sweep`` returned.

    Args:
        comparison: the result, and the code that opens it.
        store: where it is.
        folder: where the report will be written.
    """
    result, grid = comparison.result, list(comparison.grid)
    model = str(result.attrs.get("model", "a model that is not named"))
    kind = "Sweep" if grid else "Comparison"
    report = Report(f"{kind} of edits on {model}", f"In `{comparison.name}`.", opening=comparison.code)
    _design(report.section("What was compared"), result, grid)
    _effects(report.section("Effects"), result, grid, model)
    if "images" in result and "baseline_images" in result:
        _images(report.section("Images"), result, grid, model)
    add_store(report, comparison, store)
    live = json.loads(result.attrs.get("live", "{}"))
    report.provenance(
        {
            "model": model,
            "revision": result.attrs.get("revision") or "not in the store",
            "call": result.attrs.get("call", ""),
            "weights fingerprint": str(result.attrs.get("weights_fingerprint", ""))[:16],
            "versions": live.get("versions", {}),
            **made_with(result.attrs.get("ditscope"), result.attrs.get("ditscope_commit")),
            "prompts": list(dict.fromkeys(map(str, result["prompt"].values))),
            "seeds": sorted(set(result["seed"].values.tolist())),
            "command": f"ditscope report {store}",
        }
    )
    to = os.path.relpath(store, folder)
    return report.beside({"the store": to, "its outline": os.path.join(to, "zarr.json")})


def _design(section: Section, result: xr.Dataset, grid: list[str]) -> None:
    prompts = len(set(map(str, result["prompt"].values)))
    section.text(
        f"{result.sizes['sample']} images of {prompts} prompts are made again under each edit"
        + (f", for each {', '.join(grid)} of the grid" if grid else "")
        + ", and scored against the unedited image of the same prompt and seed."
    )
    if missing := result.attrs.get("missing_runs"):
        section.text(f"**{missing} runs are not finished**; what is drawn is of the others.")
    edits = [
        {
            "edit": str(edit),
            "control": bool(result["control"].values[row]),
            "draws": int(result["draws"].values[row]),
            "matched to": str(result["matched_to"].values[row]) or None,
        }
        for row, edit in enumerate(result["edit"].values)
    ]
    section.table(edits, "The edits.")
    if grid:
        labels = [{"dimension": dim, "labels": ", ".join(map(str, result[dim].values))} for dim in grid]
        section.table(labels, "The grid.")


def _effects(section: Section, result: xr.Dataset, grid: list[str], model: str) -> None:
    about = {"model": model, "samples": result.sizes["sample"]}
    if not grid:
        section.figure(
            plots.ablation(result, about=about),
            "Effect of each edit with intervals over prompts, and the energy that it removed.",
            name="effects",
        )
    elif set(grid) == {"block", "step"}:
        for metric in map(str, result["metric"].values):
            section.figure(
                plots.sweep_heatmap(result, metric, about=about),
                f"Where and when each edit has its effect on {metric}.",
                name=f"effects-{metric.replace('_', '-')}",
            )
    elif len(grid) <= 2:
        section.figure(
            plots.grid_effects(result, x=grid[0], about=about),
            "Effect by cell with intervals over prompts.",
            name="effects",
        )
    else:
        section.text(
            f"A grid of {len(grid)} dimensions is not drawn: select labels of {', '.join(grid[2:])}."
        )
    rows = _rows(result, grid)
    section.table(rows, "Effects with intervals over prompts.")
    if (every := result["mean"].isel(metric=0).size) > len(rows):
        section.text(f"The first {len(rows)} of {every} rows; the store has all.")
    changes = result.isel(metric=~result["paired"].values.astype(bool))
    if not (intervals := _intervals(changes)):
        return
    sure = sum(bool(low > 0 or high < 0) for low, high in intervals)
    section.finding(
        f"{sure} of {len(intervals)} changes of {', '.join(map(str, changes['metric'].values))} have an interval that "
        "does not hold 0.",
        "In these the edit did something to the images that prompts alone do not explain. Metrics that score an edited "
        "image against the unedited one are not counted: their value is a score, not a change.",
        "An effect is not a meaning: an edit is held against the controls beside it, of equal size where that matters. "
        "Intervals of single effects do not hold together; `simultaneous_low` and `simultaneous_high` in the store do.",
    )


def _intervals(result: xr.Dataset) -> list[tuple[float, float]]:
    ends = [result[name].values.ravel() for name in ("low", "high")]
    return [each for each in zip(*ends, strict=True) if np.isfinite(each).all()]


def _rows(result: xr.Dataset, grid: list[str]) -> list[dict[str, Any]]:
    """A row for each of the first cells and edits, with a column for each metric."""
    labels = [str(label) for label in result["label"].values]
    metrics = [str(metric) for metric in result["metric"].values]
    columns = [
        label if labels.count(label) == 1 else metric for label, metric in zip(labels, metrics, strict=True)
    ]
    stacked = result[["mean", "low", "high"]].stack(row=[*grid, "edit"])
    rows = []
    for at in range(min(stacked.sizes["row"], _MOST_ROWS)):
        one = stacked.isel(row=at)
        row: dict[str, Any] = {dim: str(one[dim].item()) for dim in (*grid, "edit")}
        for column, metric in zip(columns, metrics, strict=True):
            mean, low, high = (float(one[part].sel(metric=metric)) for part in ("mean", "low", "high"))
            row[column] = f"{mean:.3g} [{low:.3g}, {high:.3g}]" if np.isfinite(mean) else None
        rows.append(row)
    return rows


def _images(section: Section, result: xr.Dataset, grid: list[str], model: str) -> None:
    cell = dict.fromkeys(grid, 0)
    first = slice(0, _SHOWN)
    about = {"model": model}
    where = ", ".join(f"{dim} {result[dim].values[0]}" for dim in grid)
    section.figure(
        plots.image_grid(
            result[["images", "baseline_images"]].isel(cell).isel(sample=first),
            title="The same prompts and seeds under each edit",
            about=about,
        ),
        "One row a prompt, one column an edit, the first draw of each" + (f", at {where}." if where else "."),
        name="images",
    )
