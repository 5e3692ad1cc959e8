"""Synthetic arrays shaped like a small real run: 10 blocks, 128 channels, a 16 x 16 latent grid."""

from __future__ import annotations

import numpy as np
import xarray as xr

BLOCKS = [f"double.{i}" for i in range(4)] + [f"single.{i}" for i in range(6)]
KINDS = ["double"] * 4 + ["single"] * 6
MASSIVE = (9, 37, 101)
GRID = 16


def block_coords(extra: dict | None = None) -> dict:
    return {
        "block": np.arange(10),
        "block_name": ("block", BLOCKS),
        "block_kind": ("block", KINDS),
        **(extra or {}),
    }


def disc(cx: float, cy: float, radius: float, size: int = GRID) -> np.ndarray:
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    return (x - cx) ** 2 + (y - cy) ** 2 < radius**2


def make_scores() -> xr.DataArray:
    """Magnitudes [block, channel] that grow with depth, with three massive channels."""
    rng = np.random.default_rng(0)
    depth = np.linspace(0.6, 3.0, 10)[:, None]
    scores = rng.lognormal(0.0, 0.45, (1, 128)) * rng.lognormal(0, 0.12, (10, 128)) * depth
    for channel, factor in zip(MASSIVE, (14, 9, 6), strict=True):
        scores[:, channel] = (
            np.median(scores, axis=1) * factor * np.linspace(0.5, 1.2, 10) * rng.uniform(0.9, 1.1, 10)
        )
    return xr.DataArray(
        scores.astype(np.float32),
        dims=("block", "channel"),
        coords=block_coords({"channel": np.arange(128)}),
        attrs={"stream": "image", "site": "block_output", "statistic": "mean_abs"},
    )


def make_hidden() -> xr.DataArray:
    rng = np.random.default_rng(1)
    hidden = rng.normal(0, 1, (GRID * GRID, 128))
    inside = disc(0.4, 0.55, 0.28).ravel()
    for channel, size in zip(MASSIVE, (30, -18, 12), strict=True):
        hidden[:, channel] = size * (1 + 0.35 * inside) + rng.normal(0, 0.8, GRID * GRID)
    hidden[40, 60] = 16
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    return xr.DataArray(
        hidden.astype(np.float32),
        dims=("token", "channel"),
        coords={
            "token": np.arange(GRID * GRID),
            "y": ("token", y),
            "x": ("token", x),
            "channel": np.arange(128),
            "block": 9,
            "block_name": "single.5",
            "step": 19,
            "sigma": 0.05,
        },
        attrs={"stream": "image", "site": "block_output", "grid_height": GRID, "grid_width": GRID},
    )


def make_images(count: int = 3) -> xr.DataArray:
    colours = [(214, 40, 40), (246, 208, 44), (64, 200, 220), (144, 56, 190)]
    grounds = [(40, 84, 214), (24, 24, 24), (242, 242, 242), (38, 166, 70)]
    places = [(0.4, 0.55), (0.7, 0.4), (0.5, 0.3), (0.3, 0.7)]
    images = np.zeros((count, 64, 64, 3), np.uint8)
    for i in range(count):
        images[i] = grounds[i % 4]
        images[i][disc(*places[i % 4], 0.28, 64)] = colours[i % 4]
        images[i, ::8] = (images[i, ::8] * 0.92).astype(np.uint8)
    prompts = [
        "a large red circle at the left on a striped blue background",
        "a large yellow circle at the right on a striped black background",
        "a large cyan circle at the top on a striped white background",
        "a small purple ring at the bottom on a plain green background",
    ]
    return xr.DataArray(
        images,
        dims=("sample", "y_pixel", "x_pixel", "rgb"),
        coords={"sample": np.arange(count), "prompt": ("sample", [prompts[i % 4] for i in range(count)])},
    )


def make_masks(count: int = 3) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Masks [sample, block, y, x], references [sample, y, x] at 32 x 32, IoU [sample, block]."""
    rng = np.random.default_rng(2)
    places = [(0.4, 0.55), (0.7, 0.4), (0.5, 0.3), (0.3, 0.7)]
    masks = np.zeros((count, 10, GRID, GRID), bool)
    truth = np.stack([disc(*places[i % 4], 0.28, 32) for i in range(count)])
    iou = np.zeros((count, 10))
    for i in range(count):
        coarse = disc(*places[i % 4], 0.28)
        for block in range(10):
            masks[i, block] = coarse ^ (rng.random((GRID, GRID)) < 0.14 * (1 - block / 10) ** 2)
            iou[i, block] = (masks[i, block] & coarse).sum() / (masks[i, block] | coarse).sum()
    attrs = {"stream": "image", "site": "block_output"}
    return (
        xr.DataArray(
            masks,
            dims=("sample", "block", "y", "x"),
            coords=block_coords({"sample": np.arange(count)}),
            attrs=attrs,
        ),
        xr.DataArray(truth, dims=("sample", "y", "x"), coords={"sample": np.arange(count)}),
        xr.DataArray(iou, dims=("sample", "block"), coords=block_coords({"sample": np.arange(count)})),
    )


def make_iou(polarity: bool = True) -> xr.Dataset:
    selectors = ["top 12", "std-ranked 12", "PCA, all channels", "middle 12", "random 12", "bottom 12"]
    level = {"signed": [0.42, 0.4, 0.62, 0.36, 0.34, 0.22], "oracle": [0.86, 0.83, 0.78, 0.55, 0.5, 0.33]}
    rng = np.random.default_rng(3)
    rows = {}
    for rule, means in level.items():
        climb = np.linspace(0.75, 1.08, 10)
        rows[rule] = np.clip(np.array(means)[:, None] * climb + rng.normal(0, 0.02, (6, 10)), 0, 1)
    stack = np.stack([rows["signed"], rows["oracle"]])
    dims: tuple[str, ...] = ("polarity", "selector", "block")
    data = {
        "iou": (dims, stack),
        "iou_low": (dims, stack - 0.04),
        "iou_high": (dims, np.minimum(stack + 0.04, 1)),
    }
    controls = ("selector", [False, False, False, True, True, True])
    coords = block_coords({"polarity": ["signed", "oracle"], "selector": selectors, "control": controls})
    result = xr.Dataset(data, coords=coords, attrs={"stream": "image", "site": "block_output"})
    return result if polarity else result.isel(polarity=1, drop=True)


def make_summary() -> xr.Dataset:
    edits = [
        "massive: zero top 12",
        "massive to mean",
        "energy-matched random",
        "random 12",
        "middle 12",
        "bottom 12",
    ]
    mean = np.array(
        [
            [15.2, 24.0, 18.9, 22.6, 21.9, 27.4],
            [0.41, 0.82, 0.60, 0.78, 0.74, 0.93],
            [-4.9, -0.4, -2.0, -0.6, -0.8, 0.1],
            [0.39, 0.07, 0.24, 0.11, 0.14, 0.03],
        ]
    )
    half = np.array([[0.9], [0.03], [0.5], [0.02]])
    return xr.Dataset(
        {
            "mean": (("metric", "edit"), mean),
            "low": (("metric", "edit"), mean - half),
            "high": (("metric", "edit"), mean + half),
            "energy_removed": ("edit", np.array([0.61, 0.02, 0.58, 0.07, 0.05, 0.001])),
        },
        coords={
            "metric": ["psnr", "ssim", "clip_score_delta", "lpips"],
            "edit": edits,
            "control": ("edit", [False, True, True, True, True, True]),
            "unit": ("metric", ["dB", "", "points", ""]),
            "direction": ("metric", ["higher", "higher", "higher", "lower"]),
        },
        attrs={"stream": "image", "site": "block_output"},
    )


def make_curves() -> xr.Dataset:
    """Three alphas of two edits, as transport_curve returns them."""
    alphas = np.array([0.0, 0.5, 1.0])
    mean = np.stack(
        [np.tile(18 - 6 * alphas, 2) + np.repeat([0, 4], 3), np.concatenate([9 * alphas, 2 * alphas])]
    )
    mean[0, [0, 3]] = np.inf
    return xr.Dataset(
        {
            name: (("metric", "edit"), mean + shift)
            for name, shift in (("mean", 0), ("low", -0.5), ("high", 0.5))
        },
        coords={
            "metric": ["psnr", "clip_to_source"],
            "edit": [f"{name} at {alpha:g}" for name in ("massive", "random") for alpha in alphas],
            "curve": ("edit", np.repeat(["massive", "random"], 3)),
            "alpha": ("edit", np.tile(alphas, 2)),
            "control": ("edit", np.repeat([False, True], 3)),
            "unit": ("metric", ["dB", ""]),
        },
        attrs={"stream": "image", "site": "block_output"},
    )


def make_comparison() -> xr.Dataset:
    """Images of two edits with two draws each, as compare returns them, beside the summary of three samples."""
    images = make_images()
    edited = xr.concat(
        [images + shift for shift in (40, 80)], xr.DataArray(["zero top", "zero random"], dims="edit")
    )
    edited = xr.concat([edited, edited + 90], xr.DataArray([0, 1], dims="draw"))
    score = np.arange(12.0).reshape(2, 2, 3)
    return xr.Dataset(
        {
            "images": edited.transpose("edit", "draw", "sample", ...),
            "baseline_images": images,
            "value": (("edit", "draw", "sample"), score),
        },
        coords={
            "edit": ["zero top", "zero random"],
            "draws": ("edit", [1, 2]),
            "control": ("edit", [False, True]),
        },
        attrs={"model": "shapes"},
    )


def make_sweep() -> xr.Dataset:
    """Effects of two edits by block and step, as sweep returns them: largest late in the model, early in the run."""
    block, step = np.meshgrid(np.arange(10), np.arange(8), indexing="ij")
    bump = np.exp(-((block - 7) ** 2) / 6 - step / 2.5)
    mean = np.stack([-6.0 * bump + 0.2, -0.4 * bump * np.cos(block)], axis=-1)[None]
    half = 0.3 + 0.1 * np.abs(mean)
    names = [f"double.{index}" if index < 4 else f"single.{index - 4}" for index in range(10)]
    dims = ("metric", "block", "step", "edit")
    return xr.Dataset(
        {"mean": (dims, mean), "low": (dims, mean - half), "high": (dims, mean + half)},
        coords={
            "metric": ["clip_score"],
            "block": range(10),
            "block_name": ("block", names),
            "step": range(8),
            "edit": ["massive", "energy-matched random"],
            "control": ("edit", [False, True]),
            "label": ("metric", ["change in CLIP score"]),
            "unit": ("metric", ["points"]),
        },
        attrs={"model": "shapes"},
    )


def make_recording() -> xr.DataArray:
    """Hidden states of 64 samples as a cache gives them: 16 channels, four of them larger at the subject."""
    rng = np.random.default_rng(6)
    shape = (64, 2, 2, 3, 36, 16)
    scale = np.r_[rng.uniform(0.5, 1.5, 12), 6.0, 5.0, 4.0, 3.0]
    inside = np.stack([disc(*((0.4, 0.5) if i % 2 else (0.6, 0.5)), 0.3, 6).ravel() for i in range(64)])
    values = rng.normal(0.0, 0.35, shape) + 0.6
    values[..., 12:] += inside[:, None, None, None, :, None]
    y, x = np.divmod(np.arange(36), 6)
    return xr.DataArray(
        (values * scale * rng.lognormal(0, 0.2, (64, 2, 2, 3, 1, 16))).astype(np.float32),
        dims=("sample", "step", "branch", "block", "token", "channel"),
        coords={
            "sample": np.arange(64),
            "prompt": ("sample", [f"prompt {i // 2}" for i in range(64)]),
            "seed": ("sample", np.arange(64) % 2),
            "step": [4, 9],
            "branch": ["cond", "uncond"],
            "block": np.arange(3),
            "block_name": ("block", ["double.0", "double.1", "single.0"]),
            "token": np.arange(36),
            "y": ("token", y),
            "x": ("token", x),
            "channel": np.arange(16),
        },
        attrs={"stream": "image", "site": "block_output", "model": "shapes"},
    )


def make_jaccard(size: int = 10) -> xr.DataArray:
    index = np.arange(size)
    matrix = np.exp(-np.abs(index[:, None] - index) / 6.0)
    names = BLOCKS[:size] if size <= 10 else [f"single.{i}" for i in range(size)]
    return xr.DataArray(
        matrix,
        dims=("block", "block_other"),
        coords={"block": index, "block_name": ("block", names), "block_other": index},
        attrs={"stream": "image", "site": "block_output", "chance": 0.05},
    )


def make_needed(orders: int = 1, streams: int = 1) -> xr.Dataset:
    rng = np.random.default_rng(4)
    seen = np.arange(8, 168, 8)
    curve = 1 - np.exp(-seen / 30) * rng.uniform(0.3, 0.9, (10, 1))
    noisy = np.clip(curve + rng.normal(0, 0.01, (orders, streams, *curve.shape)), 0, 1)
    return xr.Dataset(
        {
            "jaccard": (("order", "stream", "block", "samples"), noisy),
            "needed": ("order", np.array([72.0, 96.0, np.nan, 64.0])[:orders]),
        },
        coords=block_coords({"samples": seen, "stream": ["image", "text"][:streams], "order": range(orders)}),
        attrs={"tau": 0.9, "statistic": "mean_abs", "site": "block_output", "k": 12},
    )


def make_rows() -> list[dict[str, float]]:
    rng = np.random.default_rng(5)
    return [
        {
            "step": step,
            "seconds": step * 0.7,
            "loss": float(0.12 + 1.4 * np.exp(-step / 900) + rng.normal(0, 0.015)),
            "gradient_norm": float(np.exp(rng.normal(-0.5, 0.4))),
            "pixels": 32 if step < 6000 else 64,
        }
        for step in range(50, 15001, 50)
    ]


def make_decided() -> xr.Dataset:
    """What a rule of two quantities said of two results."""
    ends = np.array([[[-4.0, -2.0], [-0.05, 0.3]], [[-1.5, 1.5], [-0.08, 0.06]]])
    dims = ("result", "quantity")
    refutes = [[[0.0, np.inf], [np.nan, np.nan]], [[-np.inf, -0.1], [0.1, np.inf]]]
    return xr.Dataset(
        {
            "mean": (dims, ends.mean(-1)),
            "low": (dims, ends[..., 0]),
            "high": (dims, ends[..., 1]),
            "supports": (("quantity", "end"), [[-np.inf, -1.0], [-0.1, 0.1]]),
            "refutes": (("quantity", "range", "end"), refutes),
        },
        coords={
            "result": ["shapes", "shapes-sana"],
            "quantity": ["less", "same"],
            "words": (
                "quantity",
                ["PSNR, massive less random of equal edit norm", "change of right answers"],
            ),
            "unit": ("quantity", ["dB", ""]),
            "verdict": (dims, [["supported", "undecided"], ["undecided", "supported"]]),
        },
    )


def make_cells() -> xr.Dataset:
    """Two metrics over a small grid of three dims, as a sweep returns them."""
    mean = np.random.default_rng(3).normal(size=(2, 3, 2, 2))
    dims = ("metric", "channels", "blocks", "steps")
    return xr.Dataset(
        {"mean": (dims, mean), "low": (dims, mean - 0.3), "high": (dims, mean + 0.4)},
        coords={
            "metric": ["psnr", "shape_right"],
            "channels": [1, 2, 6],
            "blocks": ["one block", "all blocks"],
            "steps": ["early", "late"],
            "unit": ("metric", ["dB", ""]),
            "label": ("metric", ["PSNR", "change in shape as the caption says"]),
        },
    )
