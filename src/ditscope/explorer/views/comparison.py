"""What a comparison or a sweep has: the labels of every slider."""

from __future__ import annotations

import numpy as np

from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Comparison
from ditscope.explorer.view import view

__all__ = ["comparison"]

_OF_METRICS = ("metric", "label", "unit", "damage", "paired", "over")


@view
def comparison(comparison: Comparison) -> Payload:
    """Dimensions of the grid with their labels, edits, metrics; of every sample its prompt's number and its seed."""
    result = comparison.result
    prompts = [str(prompt) for prompt in result["prompt"].values]
    number = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    metrics = zip(*(result[name].values.tolist() for name in _OF_METRICS), strict=True)
    return Payload(
        {
            "kind": "comparison",
            "name": comparison.name,
            "model": str(result.attrs.get("model", "")),
            "grid": [
                {"name": dim, "labels": [str(label) for label in result[dim].values]}
                for dim in comparison.grid
            ],
            "edits": [str(edit) for edit in result["edit"].values],
            "control": result["control"].values.tolist(),
            "matched_to": [str(each) for each in result["matched_to"].values],
            "draws": result["draws"].values.tolist(),
            "metrics": [dict(zip(_OF_METRICS, each, strict=True)) for each in metrics],
            "images": "images" in result,
            "missing_runs": int(result.attrs.get("missing_runs", 0)),
        },
        {
            "sample": np.arange(len(prompts), dtype=np.int32),
            "prompt": np.array([number[prompt] for prompt in prompts], np.int32),
            "seed": result["seed"].values.astype(np.float64),
        },
    )
