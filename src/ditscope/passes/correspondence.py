"""Semantic correspondence: where a point of one image is in another, by the most similar features."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, interval_over

__all__ = ["correspondence"]

ALPHAS = (0.05, 0.1, 0.2)


def correspondence(
    features: xr.DataArray,
    pairs: xr.Dataset,
    *,
    alphas: Iterable[float] = ALPHAS,
    level: float = LEVEL,
    seed: int = 0,
) -> xr.Dataset:
    """Match points by nearest neighbours in cosine similarity, and score them by PCK.

    Features are interpolated linearly between the centres of tokens, as an image is resized (pixels beyond the
    outermost centres have these tokens' features): the source's at each point, the target's at the centre of every
    pixel. The match is the pixel of the largest cosine similarity. PCK@alpha is the share of points that are
    matched within alpha times the longer side of the target's bounding box.

    Args:
        features: ``[sample, token, channel]`` with the grid's ``y`` and ``x``, of :func:`ditscope.passes.ditf_features`
            or any other; each pair is read and matched by itself, row by row of the target.
        pairs: ``source`` and ``target`` ``[pair]``, labels of samples; ``source_points`` and ``target_points``
            ``[pair, point, axis]``, ``(y, x)`` in pixels, where pixel 0 reaches from 0 to 1, NaN for none; ``extent``
            ``[pair]`` in pixels; attributes ``height`` and ``width`` of the images. ``ds.shapes.scene_pairs`` makes
            them.
        alphas: tolerances.
        level: coverage of the interval over pairs, by prompts where these label the pairs.
        seed: of its bootstrap.

    Returns:
        ``matched`` ``[pair, point, axis]`` in pixels, ``similarity`` and ``distance`` ``[pair, point]``; ``pck``
        ``[alpha, pair]``, of a pair's points; ``mean``, ``low``, ``high`` ``[alpha]`` of it over pairs, and
        ``per_point`` ``[alpha]``, where each point counts alike. NaN where features are not finite.

    Raises:
        InputError: features that are no grid, pairs without what they need or of samples that are not there.

    Examples:
        >>> pairs = ds.shapes.scene_pairs(prompts[:1])
        >>> kept = {"blocks": "double.2", "steps": [-1], "branches": "cond", "num_inference_steps": 2}
        >>> seen = [ds.capture_image(dit, scene.image, prompts[0], **kept).hidden() for scene in pairs.scenes]
        >>> features = xr.concat([each.squeeze(drop=True) for each in seen], "sample").assign_coords(sample=[0, 1])
        >>> ds.passes.correspondence(features, pairs.points)["pck"].dims
        ('alpha', 'pair')
    """
    tolerances = [checks.finite_number("alphas", each) for each in checks.several(alphas, float)]
    if not tolerances or min(tolerances) <= 0:
        raise InputError(f"alphas={tolerances}", "numbers above 0", "Pass (0.1,).")
    size = _check(features, pairs)
    wide = features.transpose("sample", "token", "channel")
    points, truth = (
        pairs[f"{name}_points"].transpose("pair", "point", "axis") for name in ("source", "target")
    )
    matched, similarity = np.full(points.shape, np.nan), np.full(points.shape[:2], np.nan)
    for at in range(points.sizes["pair"]):
        source, target = (_grid(wide.sel(sample=pairs[name].values[at])) for name in ("source", "target"))
        known = np.isfinite(points.values[at]).all(-1)
        if np.isfinite(source).all() and np.isfinite(target).all():
            matched[at, known], similarity[at, known] = _match(source, target, points.values[at, known], size)
    found = points.copy(data=matched)
    distance: xr.DataArray = ((found - truth) ** 2).sum("axis", skipna=False) ** 0.5
    reach = xr.DataArray(tolerances, dims="alpha", coords={"alpha": tolerances}) * pairs["extent"]
    correct = (distance <= reach).where(distance.notnull())
    pck = correct.mean("point").transpose("alpha", "pair")
    interval = interval_over(pck, over="pair", level=level, seed=seed, limits=(0, 1))
    return xr.Dataset(
        {
            "matched": found,
            "similarity": distance.copy(data=similarity),
            "distance": distance,
            "pck": pck,
            **{name: interval[name] for name in ("mean", "low", "high")},
            "per_point": correct.mean(("pair", "point")),
        },
        attrs={**features.attrs, "level": level},
    )


def _check(features: xr.DataArray, pairs: xr.Dataset) -> tuple[int, int]:
    """Height and width of the images."""
    if set(features.dims) != {"sample", "token", "channel"} or not {"y", "x"} <= set(features.coords):
        raise InputError(
            f"features with dims {', '.join(map(str, features.dims))}",
            "[sample, token, channel] with coordinates y and x",
            "Select one block, step and branch of the image stream.",
        )
    needed = ("source", "target", "source_points", "target_points", "extent")
    missing = [name for name in needed if name not in pairs]
    missing += [name for name in ("height", "width") if name not in pairs.attrs]
    if missing:
        raise InputError(f"pairs without {', '.join(missing)}", "what scene_pairs gives", "Add them.")
    unknown = set(pairs["source"].values.tolist() + pairs["target"].values.tolist()) - set(
        features["sample"].values.tolist()
    )
    if unknown:
        raise InputError(
            f"pairs of samples {sorted(unknown)[:8]}", "labels of the features' samples", "Label both alike."
        )
    return int(pairs.attrs["height"]), int(pairs.attrs["width"])


def _grid(features: xr.DataArray) -> np.ndarray:
    """``[y, x, channel]`` in float64."""
    y, x = features["y"].values, features["x"].values
    grid = np.full((y.max() + 1, x.max() + 1, features.sizes["channel"]), np.nan)
    grid[y, x] = features.values
    return grid


def _weights(positions: np.ndarray, pixels: int, cells: int) -> np.ndarray:
    """Weight of each cell at positions in pixels, ``[position, cell]``."""
    at = np.clip(positions * cells / pixels - 0.5, 0, cells - 1)
    low = np.minimum(np.floor(at).astype(int), max(cells - 2, 0))
    weights = np.zeros((len(at), cells))
    rows = np.arange(len(at))
    weights[rows, low] = 1 - (at - low)
    if cells > 1:
        weights[rows, low + 1] = at - low
    return weights


def _match(
    source: np.ndarray, target: np.ndarray, points: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Points ``[point, axis]`` -> the best pixel's centre ``[point, axis]``, and its similarity ``[point]``."""
    down, across = (_weights(points[:, axis], size[axis], source.shape[axis]) for axis in range(2))
    asked = _unit(np.einsum("py,px,yxc->pc", down, across, source))
    rows, columns = (_weights(np.arange(n) + 0.5, n, target.shape[axis]) for axis, n in enumerate(size))
    best, matched = np.full(len(points), -np.inf), np.zeros(points.shape)
    for row, weights in enumerate(rows):
        near = np.flatnonzero(weights)
        line = columns @ np.einsum("y,yxc->xc", weights[near], target[near])
        alike = asked @ _unit(line).T
        column = alike.argmax(axis=1)
        value = alike[np.arange(len(points)), column]
        better = value > best
        best[better] = value[better]
        matched[better] = np.stack([np.full(len(points), row), column], axis=-1)[better] + 0.5
    return matched, best


def _unit(features: np.ndarray) -> np.ndarray:
    """Of length 1; nothing where there is no length."""
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(length > 0, length, 1)
