"""What figures need to know of a labelled array: its dims, its labels, its blocks, and the line under a title."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.plots._text import SIGMA

_ACRONYMS = "CLIP PSNR SSIM LPIPS IoU PCA HPS FID DINO T5 MSE RBO CFG EMA".split()  # noqa: SIM905
_KINDS = {"double": "double-stream", "single": "single-stream"}


def require_dims(array: Any, dims: Sequence[str], what: str, *, remedy: str | None = None) -> xr.DataArray:
    """The array with its dims in this order, and along each of them numbers (blocks, channels) ascending.

    Raises:
        InputError: it is no DataArray, it has other dims, or one of them is empty.
    """
    wanted = f"{what} with dims [{', '.join(dims)}]"
    if not isinstance(array, xr.DataArray):
        raise InputError(type(array).__name__, f"a DataArray of {wanted}", "Label the array first.")
    if set(array.dims) != set(dims):
        extra = [str(dim) for dim in array.dims if dim not in dims]
        select = (
            f"Select or average {', '.join(extra)} first."
            if extra
            else "Add the missing dims by expand_dims."
        )
        raise InputError(f"dims [{', '.join(map(str, array.dims))}]", wanted, remedy or select)
    require_filled(array, what)
    return in_order(array.transpose(*dims))


def require_filled(array: xr.DataArray, what: str) -> None:
    """Refuse an array that has nothing in it."""
    empty = [str(dim) for dim, size in array.sizes.items() if size == 0]
    if empty:
        raise InputError(f"no {empty[0]} in {what}", "at least one", "Check the selection before it.")


def require_variables(dataset: Any, names: Sequence[str], what: str) -> xr.Dataset:
    """The dataset, when it has these variables.

    Args:
        dataset: what was passed.
        names: the variables.
        what: whose result it should be, such as ``what compare returns``.

    Raises:
        InputError: it is no Dataset, or lacks one of them.
    """
    if not isinstance(dataset, xr.Dataset):
        raise InputError(type(dataset).__name__, f"a Dataset: {what}", "Pass the whole result.")
    if any(name not in dataset for name in names):
        variables = ", ".join(map(str, dataset.data_vars)) or "none"
        raise InputError(
            f"the variables {variables}", f"{', '.join(names)}: {what}", f"Pass the whole of {what}."
        )
    return dataset


def variable(source: Any, name: str, what: str) -> Any:
    """A Dataset's variable, with the Dataset's attrs beside its own; anything else as it is."""
    if not isinstance(source, xr.Dataset):
        return source
    array = require_variables(source, [name], what)[name]
    return array.assign_attrs(source.attrs | array.attrs)


def in_order(array: xr.DataArray) -> xr.DataArray:
    """The array with the numbers along its dims ascending; names keep their order."""
    for dim, index in array.indexes.items():
        if index.dtype.kind in "iuf" and not index.is_monotonic_increasing:
            array = array.sortby(dim)
    return array


def align(array: xr.DataArray, shown: xr.DataArray, what: str) -> xr.DataArray:
    """The array with its labels in the order in which ``shown`` has them, along every dim of both.

    A dim that has no labels in one of them is matched by position. What ``shown`` does not have is left out.

    Raises:
        InputError: the array lacks a label, or is of another prompt, seed, step... than what is shown.
    """
    for dim in [dim for dim in array.dims if dim in shown.dims]:
        have, need = array.indexes.get(dim), shown.indexes.get(dim)
        if have is None or need is None:
            if array.sizes[dim] != shown.sizes[dim]:
                sizes = (
                    f"{array.sizes[dim]} {dim} labels in {what}",
                    f"{shown.sizes[dim]}, one for each shown",
                )
                raise InputError(*sizes, f"Give both arrays the coord {dim!r}.")
        elif not have.equals(need):
            if not have.is_unique or not need.isin(have).all():
                lacking = need[~need.isin(have)]
                known = f"{what} with {dim} labels {', '.join(map(str, have[:8]))}{', ...' if len(have) > 8 else ''}"
                expected = f"one for {dim} {lacking[0]!r}" if len(lacking) else f"each {dim} once"
                raise InputError(known, expected, f"Pass {what} with the labels of what is shown.")
            array = array.sel({dim: need})
    for name in [name for name in _IDENTITY if name in array.coords and name in shown.coords]:
        one, other = array.coords[name], shown.coords[name]
        if one.dims == other.dims and not np.array_equal(one.values, other.values):
            raise InputError(
                f"{what} of {name} {_first_difference(one, other)}",
                f"{name} {_first_difference(other, one)}, as shown",
                "Pass results of one run, with the labels that they came with.",
            )
    return array


_IDENTITY = ("sample", "prompt", "seed", "step", "branch", "block", "block_name", "edit", "draw")


def _first_difference(one: xr.DataArray, other: xr.DataArray) -> str:
    return repr(one.values.ravel()[np.flatnonzero(one.values != other.values)[0]].item())


def flags(array: xr.DataArray, dim: str) -> list[bool]:
    """Which labels along ``dim`` are controls: the bool coord ``control``; none of them where it is not there."""
    control = array.coords.get("control")
    if control is None or control.dims != (dim,):
        return [False] * array.sizes[dim]
    return [bool(flag) for flag in control.values]


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
    spelled = {acronym.lower(): acronym for acronym in _ACRONYMS}
    return " ".join(spelled.get(word.lower(), word) for word in str(name).split("_"))


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def headline(array: xr.DataArray | None, about: Mapping[str, object] | None = None) -> str:
    """The line under a title: model, stream, site, statistic, block, step, samples.

    Args:
        array: its attrs and scalar coords are the defaults.
        about: further entries, which win. A value of None leaves an entry out.
    """
    known: dict[str, object] = {}
    if array is not None:
        # The attr ``seed`` of a result is that of the bootstrap or of K-means, and of no image.
        known |= {key: array.attrs[key] for key in _ENTRIES if key in array.attrs and key != "seed"}
        for name in ("stream", "block", "block_name", "step", "sigma", "branch", "prompt", "seed"):
            if name in array.coords and array.coords[name].ndim == 0:
                known[name] = array.coords[name].item()
    known |= dict(about or {})
    if "block_name" in known:
        known["block"] = known.pop("block_name")
    ordered = [key for key in _ENTRIES if key in known] + [key for key in known if key not in _ENTRIES]
    return "  ·  ".join(_entry(key, known[key]) for key in ordered if known[key] is not None)


_ENTRIES = (  # noqa: SIM905
    "model stream site statistic block step sigma branch guidance prompt seed sample samples prompts seeds draws k"
).split()


def _entry(key: str, value: object) -> str:
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


_DOWN = ("sample", "prompt", "seed", "draw", "step", "branch", "block", "edit")


def down_first(dims: Iterable[Hashable], down: str | None = None) -> list[str]:
    """Dims of a grid, that of the rows first: samples before steps before blocks before edits, or ``down``."""
    order = ([down] if down else []) + [*_DOWN]
    return sorted(map(str, dims), key=lambda dim: order.index(dim) if dim in order else len(order))


def row_names(array: xr.DataArray, dim: str) -> list[str]:
    """What the rows of a grid are called: the prompts where each row has one, else the labels."""
    if "prompt" in array.coords and array.coords["prompt"].dims == (dim,):
        return [str(prompt) for prompt in array.coords["prompt"].values]
    return labels(array, dim)
