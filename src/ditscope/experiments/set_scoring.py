"""Numbers of whole sets of images: each edit's set beside the baseline's, with intervals over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ditscope.experiments.outline import Outline
from ditscope.intervals import bootstrap_error, student_interval
from ditscope.metrics.metric import Metric


def with_sets(result: xr.Dataset, scorers: Mapping[str, Metric], outline: Outline) -> xr.Dataset:
    """A sweep's result with the numbers of the metrics that are of sets, cell by cell.

    Args:
        result: the sweep's, with its images.
        scorers: the metrics by name.
        outline: what the sweep consists of.
    """
    prompts = list(outline.prompts)
    for name, metric in scorers.items():
        if metric.over != "set":
            continue
        result = result.copy(deep=True)
        baseline = result["baseline_images"].values
        for cell, at in enumerate(np.ndindex(*outline.shape)):
            here = dict(zip(outline.dims, at, strict=True))
            images = result["images"].isel(here).values
            runs = {
                (edit, draw): images[edit, draw]
                for edit, draws in enumerate(outline.draws[cell])
                for draw in range(draws)
            }
            for key, values in set_intervals(metric, baseline, runs, prompts).items():
                result[key].loc[{"metric": name}][here] = values
    return result


def set_intervals(
    metric: Metric,
    baseline: np.ndarray,
    runs: Mapping[tuple[int, int], np.ndarray],
    prompts: Sequence[str],
) -> dict[str, np.ndarray]:
    """What :func:`ditscope.experiments.compare.compare` gives of a metric over a set, ``[edit]`` each.

    The mean is over draws. In every resample whole prompts are drawn, and the same ones for each edit and the baseline;
    bounds are by Student's t from its standard error, for what sets of this size have on average: in 250 simulated
    studies each they cover that in 94 to 95 % with 12 prompts of four seeds and with 50 of one, and always where both
    sets are of one distribution (``benchmarks/coverage_of_intervals.py``).

    Args:
        metric: the metric.
        baseline: images without edits, uint8 ``[sample, y, x, rgb]``.
        runs: (edit, draw) -> images of that run, likewise; edits count from 0.
        prompts: one for each sample.
    """
    reference = metric.features(baseline, prompts=prompts)
    features = {at: metric.features(images, prompts=prompts) for at, images in runs.items()}
    n_edits = 1 + max(edit for edit, _ in runs)
    distance = metric.distance
    assert distance is not None

    def statistic(samples: np.ndarray) -> np.ndarray:
        """``[effect or contrast, edit]``."""
        of = {at: distance(each[samples], reference[samples]) for at, each in features.items()}
        effect = np.array([np.mean([of[at] for at in of if at[0] == edit]) for edit in range(n_edits)])
        return np.stack([effect, effect[0] - effect])

    found = statistic(np.arange(len(prompts)))
    error = bootstrap_error(statistic, len(prompts), cluster=prompts)
    result: dict[str, np.ndarray] = {}
    for name, row, several in (("", 0, n_edits), ("contrast_", 1, n_edits - 1)):
        for kind, together in (("", 1), ("simultaneous_", several)):
            interval = student_interval(found[row], error[row], len(set(prompts)), together=together)
            result |= {f"{name}{kind}low": interval.low, f"{name}{kind}high": interval.high}
        result[f"{name}mean"] = found[row]
    return result
