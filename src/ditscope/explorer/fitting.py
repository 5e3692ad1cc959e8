"""The part of a store that fits a page: a few samples with a few places of each, evenly spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ditscope.cache.reader import Cache
from ditscope.explorer.export import page_site
from ditscope.explorer.stores import Comparison, Store

_WIDEST = 4  # bytes of a value, before they are compressed
_AROUND = 2000  # bytes of an answer beside its arrays and its prompt: numbers, Python, the question itself


class Fitting(NamedTuple):
    """What of a store fits.

    Attributes:
        store: a recording, or the chosen part of a comparison.
        choice: samples and, of a recording, steps, blocks and channels, as of :func:`ditscope.explorer.export.export`.
        inside: what that is, in words.
    """

    store: Store
    choice: Mapping[str, Any]
    inside: str


def fitting(store: Store, most_bytes: int) -> Fitting | None:
    """What of a store fits a page, so that it is no longer than that, or None if not one place does.

    Of a recording two samples, three steps, twelve blocks and four channels at most; of a comparison with images two
    prompts, two seeds, eight labels of each dimension of the grid, eight edits and the first draw, its images no larger
    than thumbnails are. For a bound, all is taken as what cannot be compressed.
    """
    return _of_recording(store, most_bytes) if isinstance(store, Cache) else _of_comparison(store, most_bytes)


def _of_recording(cache: Cache, most_bytes: int, channels: int = 4) -> Fitting | None:
    schema = cache.schema
    site = page_site(cache)
    names = [block.name for block in schema.blocks_of(site)]
    steps = [step.index for step in schema.steps]
    image = (schema.image_height or 0) * (schema.image_width or 0) * 3
    tokens = schema.stream(site.stream).tokens if site.has_tokens and schema.tensors else 0
    place = tokens * (channels * _WIDEST + 24) + schema.width * 16 + _AROUND
    every = {"samples": cache.committed, "steps": steps, "blocks": names}

    def size(counts: Mapping[str, int]) -> int:
        return counts["samples"] * (image + counts["steps"] * counts["blocks"] * place)

    counts = _reduced(every, {"samples": 2, "steps": 3, "blocks": 12}, size, most_bytes)
    if counts is None or not cache.committed:
        return None
    chosen = {name: _spread(every[name], count) for name, count in counts.items()}
    inside = [f"{count} of {len(every[name])} {name}" for name, count in counts.items()]
    return Fitting(
        cache, {**chosen, "channels": channels}, f"{', '.join(inside)} and the {channels} leading channels"
    )


def _of_comparison(comparison: Comparison, most_bytes: int) -> Fitting | None:
    from ditscope.experiments.kept import thumbnail_size  # loads torch, which a recording does not need

    result = comparison.result
    rows = _finished(result)
    if not rows:
        return None
    height, width = (result.sizes[dim] for dim in ("y_pixel", "x_pixel"))
    shown = thumbnail_size(height, width)
    texts = len(comparison.code) + 4 * max(len(str(prompt)) for prompt in result["prompt"].values)
    every: dict[str, Sequence[Any]] = {
        "seed": max(rows.values(), key=len),
        "prompt": list(rows),
        **{dim: range(result.sizes[dim]) for dim in comparison.grid},
        "edit": range(result.sizes["edit"]),
    }

    def size(counts: Mapping[str, int]) -> int:
        """An image without and with the edit at each place, and the scores that have all edits of a cell."""
        cells = int(np.prod([counts[dim] for dim in comparison.grid]))
        image = 2 * shown[0] * shown[1] * 3 + _AROUND + texts
        scores = 160 * counts["edit"] + 8 * cells + _AROUND + texts
        samples = counts["prompt"] * counts["seed"]
        return cells * counts["edit"] * (samples * image + result.sizes["metric"] * scores)

    most = {"seed": 2, "prompt": 2, **dict.fromkeys(comparison.grid, 8), "edit": 8}
    counts = _reduced(every, most, size, most_bytes)
    if counts is None:
        return None
    prompts = _spread(every["prompt"], counts["prompt"])
    positions = {
        "sample": [row for prompt in prompts for row in rows[prompt][: counts["seed"]]],
        **{dim: _spread(every[dim], counts[dim]) for dim in comparison.grid},
        "edit": list(every["edit"][: counts["edit"]]),
        "draw": [0],
    }
    words = {"sample": "samples", "edit": "edits", **{dim: f"labels of `{dim}`" for dim in comparison.grid}}
    inside = ", ".join(f"{len(positions[dim])} of {result.sizes[dim]} {said}" for dim, said in words.items())
    if result.sizes["draw"] > 1:
        inside += ", the first draw of each"
    if shown != (height, width):
        inside += f", images made smaller, from {width} x {height} to {shown[1]} x {shown[0]} pixels"
    part = _part(comparison, positions, shown)
    return Fitting(part, {"samples": range(len(positions["sample"]))}, inside)


def _finished(result: xr.Dataset) -> dict[str, list[int]]:
    """Positions of the samples of each prompt, where images of edited runs are kept; nothing where there are none."""
    if "images" not in result:
        return {}
    fired = result["fired_by_sample"]
    ran = (fired > 0).any([dim for dim in fired.dims if dim != "sample"])
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(ran.values):
        rows.setdefault(str(result["prompt"].values[row]), []).append(int(row))
    return rows


def _part(comparison: Comparison, positions: Mapping[str, list[int]], shown: tuple[int, int]) -> Comparison:
    """A comparison at some positions, with images of a size; its numbers are those of all samples."""
    from ditscope.experiments.kept import scaled

    chosen = comparison.result.isel(positions)
    code = f"{comparison.code}\nresult = result.isel({', '.join(f'{n}={at}' for n, at in positions.items())})"
    if shown != (chosen.sizes["y_pixel"], chosen.sizes["x_pixel"]):
        code += f"\n# The page has the images at {shown[1]} x {shown[0]} pixels."
    images = {}
    for name in ("images", "baseline_images"):
        every = chosen[name]
        *lead, _, _, _ = every.shape
        small = np.empty((*lead, *shown, 3), np.uint8)
        for at in np.ndindex(*lead):  # one by one: they may be many, and large
            small[at] = scaled(every[at].values[None], shown)[0]
        images[name] = (every.dims, small)
    draws = chosen["draws"].clip(max=len(positions["draw"]))
    kept = chosen.drop_vars(images).assign(images)
    return Comparison(comparison.name, kept.assign_coords(draws=draws), code)


def _reduced(
    every: Mapping[str, Sequence[Any]],
    most: Mapping[str, int],
    size: Callable[[Mapping[str, int]], int],
    most_bytes: int,
) -> dict[str, int] | None:
    """How many of each to take: the first of them is halved before the others, and of these the largest."""
    counts = {name: min(limit, len(every[name])) for name, limit in most.items()}
    first = next(iter(counts))
    while size(counts) * 4 / 3 > most_bytes:
        largest = max(counts, key=lambda name: (counts[name] > 1, name == first, counts[name]))
        if counts[largest] <= 1:
            return None
        counts[largest] = -(-counts[largest] // 2)
    return counts


def _spread(every: Sequence[Any], count: int) -> list[Any]:
    return [every[at] for at in np.linspace(0, len(every) - 1, count).round().astype(int)]
