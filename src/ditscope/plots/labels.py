"""What figures need to know of a labelled array: its dims, its blocks, and the facts of its headline."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.plots.text import SIGMA

_ACRONYMS = {
    name.lower(): name
    for name in (
        "CLIP",
        "PSNR",
        "SSIM",
        "LPIPS",
        "IoU",
        "PCA",
        "HPS",
        "FID",
        "DINO",
        "T5",
        "MSE",
        "RBO",
        "CFG",
        "EMA",
    )
}
_IMAGE_DIMS = (("y_pixel", "x_pixel", "rgb"), ("y", "x", "rgb"))
_KINDS = {"double": "double-stream", "single": "single-stream"}


def require_dims(array: Any, dims: Sequence[str], what: str, *, remedy: str | None = None) -> xr.DataArray:
    """The array with its dims in this order.

    Raises:
        InputError: it is no DataArray, it has other dims, or one of them is empty.
    """
    wanted = f"{what} with dims [{', '.join(dims)}]"
    if not isinstance(array, xr.DataArray):
        raise InputError(type(array).__name__, f"a DataArray of {wanted}", "Label the array first.")
    if set(array.dims) != set(dims):
        extra = [str(dim) for dim in array.dims if dim not in dims]
        hint = remedy or (
            f"Select or average {', '.join(extra)} first."
            if extra
            else "Give the missing dims, e.g. with expand_dims."
        )
        raise InputError(f"dims [{', '.join(map(str, array.dims))}]", wanted, hint)
    require_filled(array, what)
    return array.transpose(*dims)


def require_filled(array: xr.DataArray, what: str) -> None:
    """Refuse an array that has nothing in it."""
    empty = [str(dim) for dim, size in array.sizes.items() if size == 0]
    if empty:
        raise InputError(f"no {empty[0]} in {what}", "at least one", "Check the selection before it.")


def require_variables(dataset: Any, names: Sequence[str], what: str) -> xr.Dataset:
    """The dataset, when it has these variables."""
    if not isinstance(dataset, xr.Dataset):
        raise InputError(type(dataset).__name__, f"a Dataset of {what}", "Label the values first.")
    missing = [name for name in names if name not in dataset]
    if missing:
        found = ", ".join(map(str, dataset.data_vars)) or "none"
        raise InputError(
            f"the variables {found}", f"{', '.join(names)} in {what}", f"Add {', '.join(missing)}."
        )
    return dataset


def values(array: xr.DataArray) -> np.ndarray:
    """The numbers as float64: bfloat16 and float16 are never computed with."""
    return np.asarray(
        array.astype("float32").values if array.dtype.itemsize < 4 else array.values, dtype=np.float64
    )


def labels(array: xr.DataArray, dim: Hashable) -> list[str]:
    """The names along a dim: ``<dim>_name`` where there is one, else its coord, else its index."""
    for name in (f"{dim}_name", dim):
        if name in array.coords and array.coords[name].dims == (dim,):
            return [_short(value) for value in array.coords[name].values]
    return [str(index) for index in range(array.sizes[dim])]


def kinds(array: xr.DataArray) -> list[str]:
    """Each block's kind ("double", "single"), or empty strings where it is not known."""
    if "block_kind" in array.coords:
        return [str(kind) for kind in array.coords["block_kind"].values]
    return [name.split(".")[0] if "." in name else "" for name in labels(array, "block")]


def kind_spans(array: xr.DataArray) -> list[tuple[str, int, int]]:
    """Runs of blocks of one kind, as (kind in words, first, last)."""
    spans: list[tuple[str, int, int]] = []
    for index, kind in enumerate(kinds(array)):
        word = _KINDS.get(kind, kind)
        if spans and spans[-1][0] == word:
            spans[-1] = (word, spans[-1][1], index)
        else:
            spans.append((word, index, index))
    return spans


def pretty(name: object) -> str:
    """A variable's name as words: ``clip_score`` -> ``CLIP score``."""
    words = str(name).split("_")
    return " ".join(_ACRONYMS.get(word.lower(), word) for word in words)


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def image_dims(array: xr.DataArray) -> tuple[str, str, str]:
    """The names of an image array's (y, x, rgb) dims.

    Raises:
        InputError: the array holds no images.
    """
    if isinstance(array, xr.DataArray):
        for names in _IMAGE_DIMS:
            if set(names) <= set(array.dims):
                if array.sizes["rgb"] != 3:
                    raise InputError(f"{array.sizes['rgb']} colours", "3 (rgb)", "Drop the alpha channel.")
                return names
        found = f"dims [{', '.join(map(str, array.dims))}]"
    else:
        found = type(array).__name__
    raise InputError(
        found, "a DataArray of images with dims [..., y_pixel, x_pixel, rgb]", "Label the images' dims."
    )


def facts(array: Any = None, about: Mapping[str, object] | None = None) -> str:
    """The line under a title: model, stream, site, statistic, block, step, samples.

    Args:
        array: its attrs and scalar coords are the defaults.
        about: more facts, which win. A value of None leaves a fact out.
    """
    known: dict[str, object] = {}
    if array is not None:
        known |= {key: array.attrs[key] for key in _FACTS if key in array.attrs}
        for name in ("block", "block_name", "step", "sigma", "branch", "prompt", "seed"):
            if name in array.coords and array.coords[name].ndim == 0:
                known[name] = array.coords[name].item()
    known |= dict(about or {})
    if "block_name" in known:
        known["block"] = known.pop("block_name")
    ordered = [key for key in _FACTS if key in known] + [key for key in known if key not in _FACTS]
    return "  ·  ".join(_fact(key, known[key]) for key in ordered if known[key] is not None)


_FACTS = (
    "model",
    "stream",
    "site",
    "statistic",
    "block",
    "step",
    "sigma",
    "branch",
    "guidance",
    "prompt",
    "seed",
    "sample",
    "samples",
    "prompts",
    "seeds",
    "draws",
    "k",
)


def _fact(key: str, value: object) -> str:
    text = _short(value)
    match key:
        case "model":
            return text
        case "stream":
            return f"{text} stream"
        case "statistic":
            return f"channels scored by {text}"
        case "sigma":
            return f"{SIGMA} = {text}"
        case "prompt":
            return f"“{text}”"
        case "k":
            return f"k = {text}"
        case "samples" | "prompts" | "seeds" | "draws":
            return f"{text} {key[:-1] if text == '1' else key}"
        case _:
            return f"{pretty(key)} {text}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
