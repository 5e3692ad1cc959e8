"""What edits did to images: mean effects with their intervals, at one cell and over the grid."""

from __future__ import annotations

from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Comparison
from ditscope.explorer.view import view

__all__ = ["scores"]

_ENDS = ("mean", "low", "high", "simultaneous_low", "simultaneous_high")


@view
def scores(comparison: Comparison, cell: tuple[int, ...], metric: int, edit: int) -> Payload:
    """Of a metric at a cell, for every edit: ``mean``, ``low``, ``high`` and the ends that hold for all edits at once.

    ``over_grid[...]`` is the mean effect of one edit in every cell.
    """
    place = comparison.place(cell)
    result = comparison.checked({**place, "metric": metric, "edit": edit}).isel(metric=metric)
    here = result.isel(place)
    values = {name: here[name].values.tolist() for name in _ENDS}
    values |= {name: here[name].values.tolist() for name in ("energy_removed", "energy_moved")}
    at = ", ".join(f"{name}={position}" for name, position in place.items())
    code = f"{comparison.code}\nscores = result[{list(_ENDS)}].isel(metric={metric}{', ' if at else ''}{at})"
    over_grid = result["mean"].isel(edit=edit).transpose(*comparison.grid).values
    return Payload({**values, "code": code}, {"over_grid": over_grid} if comparison.grid else {})
