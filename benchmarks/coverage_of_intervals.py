"""How often a nominal 95 % interval covers the truth, by simulation, and which method does so with few prompts.

Each study has 8, 12, 20 or 50 prompts with 1 or 4 seeds each, or with unlike numbers of them (1, 1, 2, 3 and 8, in
turn). Samples of one prompt share half of the variance, before they are made skewed, or right or wrong. Every method
draws, or averages over, whole prompts:

* ``percentile``: percentiles of the resampled means (Efron & Tibshirani 1993, 13.3),
* ``bca``: corrected for bias and acceleration (Efron 1987),
* ``student``: Student's t over the means of prompts,
* ``ours``: what ``ditscope.intervals.bootstrap_mean`` gives, with ``limits`` where answers are right or wrong,
* ``ours without limits``: of right and wrong answers, as if they were any numbers.

``together`` is how often the intervals of four edits, which share a third of their variance, all cover at once: with
``together=True``, and each by itself.

``sets`` is how often an interval of a distance between two sets covers what sets of this size have on average: of 250
studies, features of edited and of baseline images that share their prompt's part, without and with a shift that prompts
take unlike.

    python benchmarks/coverage_of_intervals.py [--only PART] [--studies 4000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from ditscope.intervals import (
    LEVEL,
    Interval,
    bootstrap_error,
    bootstrap_mean,
    cluster_weights,
    student_interval,
)
from ditscope.metrics.cmmd import maximum_mean_discrepancy
from ditscope.metrics.fid import frechet_distance

PROMPTS, EDITS = (8, 12, 20, 50), 4
SEEDS = {"1": [1], "4": [4], "unequal": [1, 1, 2, 3, 8]}
TAILS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def _wrong(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """-1 where an answer that was right is wrong now."""
    return lambda normal: -(normal < ndtri(share)).astype(float)


EFFECTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "normal": (lambda normal: normal, 0.0),
    "exponential": (lambda normal: -log_ndtr(-normal), 1.0),
    "lognormal": (np.exp, float(np.exp(0.5))),
    "40 % wrong": (_wrong(0.4), -0.4),
    "10 % wrong": (_wrong(0.1), -0.1),
}
"""Effects from standard normal numbers, and their mean."""


def _normal(random: np.random.Generator, lead: tuple[int, ...], codes: np.ndarray) -> np.ndarray:
    """Standard normal ``[..., sample]``, of which samples of one prompt share half the variance."""
    shared = random.normal(size=(*lead, codes[-1] + 1))[..., codes]
    return np.sqrt(0.5) * (shared + random.normal(size=shared.shape))


def _codes(prompts: int, seeds: str) -> np.ndarray:
    """The prompt of each sample."""
    return np.repeat(np.arange(prompts), np.resize(SEEDS[seeds], prompts))


def percentile(means: np.ndarray, resamples: int) -> Interval:
    """From means of prompts ``[study, prompt]``."""
    drawn = means @ cluster_weights(means.shape[-1], resamples, 0).T / means.shape[-1]
    return Interval(means.mean(-1), *np.quantile(drawn, TAILS, axis=-1))


def bca(means: np.ndarray, resamples: int) -> Interval:
    """From means of prompts ``[study, prompt]``."""
    middle = means.mean(-1, keepdims=True)
    drawn = np.sort(means @ cluster_weights(means.shape[-1], resamples, 0).T / means.shape[-1], axis=-1)
    below = ((drawn < middle).mean(-1) + (drawn <= middle).mean(-1)) / 2
    off = means - middle  # the jackknife's skewness: a sixth of it is the acceleration
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = (off**3).sum(-1) / (6 * (off**2).sum(-1) ** 1.5)
    bias = ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))
    shift = bias + ndtri(TAILS)[:, None]
    tails = ndtr(bias + shift / (1 - np.nan_to_num(acceleration) * shift))
    at = np.clip((tails * resamples).astype(int), 0, resamples - 1)
    return Interval(middle[:, 0], *(np.take_along_axis(drawn, i[:, None], -1)[:, 0] for i in at))


def student(means: np.ndarray, resamples: int) -> Interval:
    """From means of prompts ``[study, prompt]``."""
    count = means.shape[-1]
    middle, half = means.mean(-1), means.std(-1, ddof=1) / np.sqrt(count) * stdtrit(count - 1, TAILS[1])
    return Interval(middle, middle - half, middle + half)


def coverage(effects: str, prompts: int, seeds: str, *, studies: int, resamples: int) -> dict[str, float]:
    """Method -> share of studies whose interval covers the mean effect."""
    made, truth = EFFECTS[effects]
    codes = _codes(prompts, seeds)
    values = made(_normal(np.random.default_rng([prompts, len(codes)]), (studies,), codes))
    options = {"cluster": codes, "resamples": resamples}
    found = {}
    if seeds != "unequal":
        means = values.reshape(studies, prompts, -1).mean(-1)
        found = {each.__name__: each(means, resamples) for each in (percentile, bca, student)}
    if "wrong" in effects:
        found["ours without limits"] = bootstrap_mean(values, **options)
        options["limits"] = (-1.0, 1.0)
    found["ours"] = bootstrap_mean(values, **options)
    return {name: float(covers(interval, truth).mean()) for name, interval in found.items()}


def together(effects: str, prompts: int, seeds: str, *, studies: int, resamples: int) -> dict[str, float]:
    """Share of studies in which the intervals of all edits cover, by how they were made."""
    made, truth = EFFECTS[effects]
    codes = _codes(prompts, seeds)
    random = np.random.default_rng([prompts, len(codes), EDITS])
    common, own = (_normal(random, (studies, edits), codes) for edits in (1, EDITS))
    values = made(np.sqrt(1 / 3) * common + np.sqrt(2 / 3) * own)
    limits = (-1.0, 1.0) if "wrong" in effects else None
    return {
        name: float(
            covers(
                bootstrap_mean(values, cluster=codes, resamples=resamples, limits=limits, together=how), truth
            )
            .all(-1)
            .mean()
        )
        for name, how in (("together", True), ("each by itself", False))
    }


def sets(
    distance: Callable[[np.ndarray, np.ndarray], float], shift: float, prompts: int, seeds: str
) -> float:
    """Share of studies whose interval of a distance covers what sets of this size have on average."""
    codes = _codes(prompts, seeds)
    random = np.random.default_rng([prompts, len(codes)])

    def study() -> tuple[np.ndarray, np.ndarray]:
        """Features ``[image, feature]`` of the edited images and of the baseline's."""
        common = random.normal(size=(prompts, 6))
        moved = shift * (1 + 0.5 * random.normal(size=(prompts, 1)))
        edited, baseline = (each[codes] for each in (common + moved, common))
        noise = 0.7 * random.normal(size=(2, len(codes), 6))
        return edited + noise[0], baseline + noise[1]

    truth = float(np.mean([distance(*study()) for _ in range(1000)]))
    hits = 0
    for _ in range(250):
        one, other = study()
        error = bootstrap_error(
            lambda rows, one=one, other=other: distance(one[rows], other[rows]),
            len(codes),
            cluster=codes,
            resamples=100,
        )
        hits += bool(covers(student_interval(distance(one, other), error, prompts), truth))
    return hits / 250


def all_sets() -> dict[str, dict[str, float]]:
    """Setting -> distance -> coverage."""
    return {
        f"shift {shift}, {prompts} x {seeds}": {
            each.__name__: sets(each, shift, prompts, seeds)
            for each in (maximum_mean_discrepancy, frechet_distance)
        }
        for shift in (0, 1)
        for prompts, seeds in ((12, "4"), (50, "1"))
    }


def covers(interval: Interval, truth: float) -> np.ndarray:
    """Whether intervals hold the truth, rounding apart."""
    return (interval.low <= truth + 1e-12) & (interval.high >= truth - 1e-12)


def measure(studies: int, resamples: int, only: str | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """Part -> "effects, prompts x seeds" -> method -> coverage."""
    found = {
        part.__name__: {
            f"{effects}, {prompts} x {seeds}": part(
                effects, prompts, seeds, studies=studies, resamples=resamples
            )
            for effects in EFFECTS
            for seeds in SEEDS
            for prompts in PROMPTS
        }
        for part in (coverage, together)
        if only in (None, part.__name__)
    }
    return found if only not in (None, "sets") else {**found, "sets": all_sets()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--only", choices=["coverage", "together", "sets"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.studies, options.resamples, options.only)
    for part, rows in found.items():
        print(part)
        for setting, shares in rows.items():
            print(f"  {setting:22}", *(f"{name} {100 * share:.1f}" for name, share in shares.items()))
    if options.json:
        rounded = {
            part: {
                setting: {name: round(share, 4) for name, share in shares.items()}
                for setting, shares in rows.items()
            }
            for part, rows in found.items()
        }
        settings = {"studies": options.studies, "resamples": options.resamples, "level": LEVEL}
        kept = json.loads(options.json.read_text()) if options.json.is_file() else {}
        options.json.write_text(json.dumps({**kept, "settings": settings, **rounded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
