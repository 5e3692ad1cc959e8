"""What can be looked at: recordings, and comparisons of images with and without edits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import xarray as xr

from ditscope.cache import files, zarr_metadata
from ditscope.cache.reader import Cache, open_cache
from ditscope.errors import InputError
from ditscope.paths import local_path


@dataclass(frozen=True, eq=False)
class Comparison:
    """What ``ds.compare`` or ``ds.sweep`` returned.

    Attributes:
        name: what it is called.
        result: the dataset.
        code: Python that opens it as ``result``.
    """

    name: str
    result: xr.Dataset
    code: str

    @property
    def grid(self) -> tuple[str, ...]:
        """Dimensions of the grid."""
        return tuple(str(dim) for dim in self.result["fired"].dims if dim not in ("edit", "draw"))

    def place(self, cell: Sequence[int]) -> dict[str, int]:
        """Positions along the grid's dimensions by name.

        Raises:
            InputError: there are more or fewer dimensions.
        """
        if len(cell) != len(self.grid):
            raise InputError(f"the cell {list(cell)}", f"a position along each of {self.grid}", "Ask again.")
        return dict(zip(self.grid, cell, strict=True))

    def checked(self, place: Mapping[str, int]) -> xr.Dataset:
        """The dataset, once all of a place's positions are there.

        Raises:
            InputError: one is not.
        """
        for dim, position in place.items():
            if not 0 <= position < self.result.sizes[dim]:
                raise InputError(f"{dim} {position}", f"0 to {self.result.sizes[dim] - 1}", "Choose another.")
        return self.result


Store: TypeAlias = Cache | Comparison
"""What one looks at."""


_OF_COMPARISONS = {"baseline_value", "baseline_images", "fired_by_sample", "over"}
"""What tells them from other datasets of a study, and from comparisons of an older ditscope, of which no view knows."""


class Listed(NamedTuple):
    """A store's name, and its kind: the view that says what it has, and which panels show it."""

    name: str
    kind: str


def listed(stores: Sequence[Store]) -> list[Listed]:
    """What stores are called; recordings of one name with the folder that they are in."""
    every = [store.path.name if isinstance(store, Cache) else store.name for store in stores]
    return [
        Listed(name, "comparison")
        if isinstance(store, Comparison)
        else Listed(name if every.count(name) == 1 else f"{store.path.parent.name}/{name}", "recording")
        for store, name in zip(stores, every, strict=True)
    ]


def kind_at(path: Path) -> str | None:
    """What a path has by its own word, be it whole or damaged: ``study result``, ``sweep``, ``recording``, or None.

    Raises:
        CacheError: its ``zarr.json`` cannot be read.
    """
    if (path / "results.json").is_file():
        return "study result"
    if not (path / zarr_metadata.ROOT).is_file():
        return None
    root = files.read_json(path / zarr_metadata.ROOT, "the metadata of a zarr v3 group")
    attributes = root.get("attributes") if isinstance(root, dict) else None
    if not isinstance(attributes, dict):
        return None
    if zarr_metadata.ATTRIBUTE in attributes:
        return "recording"
    from ditscope.experiments import sweep_store  # loads torch, which a recording does not need

    return "sweep" if sweep_store.ATTRIBUTE in attributes else None


def opened(sources: Sequence[str | os.PathLike[str] | Cache | xr.Dataset]) -> list[Store]:
    """What is at paths, or in memory: of the folder of a study its comparisons, recordings and sweeps.

    Raises:
        InputError: there is nothing of that kind.
        CacheError: there is something else at a path, or it is damaged.
    """
    if not sources:
        raise InputError("no store", "one or more", "Pass a path.")
    return [store for source in sources for store in _opened(source)]


def _opened(source: Any) -> list[Store]:
    if isinstance(source, Cache):
        return [source]
    if isinstance(source, xr.Dataset):
        if "baseline_value" not in source:
            raise InputError(
                "a dataset without baseline_value", "what ds.compare returns", "Pass its result."
            )
        return [Comparison("comparison", source, "# result is what ds.compare returned")]
    path = local_path(source)
    kind = kind_at(path)
    if kind == "study result":
        return _of_study(path)
    if kind != "sweep":
        return [open_cache(path)]
    from ditscope.experiments.sweep import open_sweep

    result = open_sweep(path)
    return [Comparison(path.name, result, f"import ditscope as ds\n\nresult = ds.open_sweep({str(path)!r})")]


def _of_study(folder: Path) -> list[Store]:
    arrays = folder / "arrays.zarr"
    tree = xr.open_datatree(arrays, engine="zarr", consolidated=False)
    opening = f"xr.open_datatree({str(arrays)!r}, engine='zarr', consolidated=False)"
    stores: list[Store] = [
        Comparison(
            f"{folder.name}: {name}",
            node.to_dataset(),
            f"import xarray as xr\n\nresult = {opening}[{str(name)!r}].to_dataset()",
        )
        for name, node in tree.children.items()
        if set(node.variables) >= _OF_COMPARISONS
    ]
    for name in stores_in(folder):
        (store,) = _opened(folder / name)
        stores.append(replace(store, name=name) if isinstance(store, Comparison) else store)
    if not stores:
        raise InputError(
            f"a study in {folder} without comparison or recording",
            "one that has either",
            "Open its report.html.",
        )
    return stores


def stores_in(folder: Path) -> list[str]:
    """Recordings and sweeps in the folder of a study's result and in those within it, by their paths from there."""
    found = [
        path for kind in ("zarr", "sweep") for depth in ("", "*/") for path in folder.glob(f"{depth}*.{kind}")
    ]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name != "arrays.zarr")
