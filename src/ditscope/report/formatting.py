"""Numbers and tables as text: what stands in a cell, and which columns are set flush right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.errors import InputError
from ditscope.plots._text import DASH, MINUS


class Column(NamedTuple):
    """A table's column, written out.

    Attributes:
        name: its head.
        numeric: whether it holds numbers, which are set flush right.
        cells: one text a row.
    """

    name: str
    numeric: bool
    cells: list[str]


def columns(table: Any, digits: int) -> list[Column]:
    """The columns of a DataFrame, Series, Dataset, DataArray or list of mappings.

    Args:
        table: a named index becomes columns; labelled arrays give one row for each position.
        digits: significant digits of numbers that are not whole.

    Raises:
        InputError: it is none of these.
    """
    return [_column(str(name), column, digits) for name, column in _frame(table).items()]


def number(value: Any, digits: int, decimals: int | None = None) -> str:
    """A number with ``decimals`` places, or with ``digits`` significant digits where those would hide it."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}".replace("-", MINUS)
    value = float(value) + 0.0  # turns -0.0 into 0.0
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    rounded = float(f"{value:.{digits}g}")
    if rounded and not 1e-4 <= abs(rounded) < 1e7:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    if decimals is None or (rounded and not float(f"{value:.{decimals}f}")):
        decimals = _decimals(abs(rounded), digits)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def spread(value: object, depth: int = 0) -> str:
    """A mapping line by line, a short list on one line, anything else as it is."""
    if isinstance(value, Mapping):
        lines = ["  " * depth + f"{key}: {spread(item, depth + 1)}" for key, item in value.items()]
        return "\n".join([""] * bool(depth) + lines)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        texts = [spread(item, depth + 1) for item in value]
        # Prompts and commands read better one to a line; seeds on one.
        return ("\n" if any(len(text) > 24 for text in texts) else ", ").join(texts)
    return str(value)


def _frame(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.Series):
        table = table.to_frame()
    if isinstance(table, pd.DataFrame):
        named = table.index.name is not None or isinstance(table.index, pd.MultiIndex)
        return table.reset_index() if named else table
    if isinstance(table, xr.DataArray):
        table = table if table.name is not None else table.rename("value")
    if isinstance(table, xr.DataArray | xr.Dataset) and table.dims:
        return table.to_dataframe().reset_index()
    if isinstance(table, list) and all(isinstance(row, Mapping) for row in table):
        return pd.DataFrame(table)
    raise InputError(
        type(table).__name__,
        "a DataFrame, a Dataset, a DataArray or a list of mappings, with a dimension",
        "Convert it first.",
    )


def _column(name: str, column: pd.Series, digits: int) -> Column:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    decimals = None
    if numeric:
        # One count of decimals, from the largest number, keeps the points under each other.
        finite = np.abs(column.to_numpy(dtype=float, na_value=np.nan))
        finite = finite[np.isfinite(finite)]
        decimals = _decimals(float(f"{finite.max():.{digits}g}"), digits) if finite.size else None
    return Column(name.replace("_", " "), numeric, [_cell(value, digits, decimals) for value in column])


def _cell(value: Any, digits: int, decimals: int | None) -> str:
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return number(value, digits, decimals)
    return DASH if value is None or value is pd.NA or value is pd.NaT else str(value)


def _decimals(largest: float, digits: int) -> int:
    """Places after the point that give ``digits`` significant digits of a number."""
    return max(0, digits - 1 - (math.floor(math.log10(largest)) if largest else 0))
