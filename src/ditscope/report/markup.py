"""Text and tables as HTML, with everything escaped: a prompt may hold anything."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.errors import InputError
from ditscope.plots._text import DASH, MINUS

_CODE = re.compile(r"`([^`\n]+)`")
_STRONG = re.compile(r"\*\*([^*\n]+)\*\*")
# Characters that HTML does not allow even when escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def escape(text: object) -> str:
    """The text, safe in an element and in a quoted attribute."""
    return html.escape(_FORBIDDEN.sub("\ufffd", str(text)), quote=True)


def inline(text: object) -> str:
    """Escaped text, with ``code`` in backticks and strong text in double asterisks as the only markup."""
    # Code is cut out first, so that asterisks within it stay.
    parts = _CODE.split(str(text))
    return "".join(
        f"<code>{escape(part)}</code>" if index % 2 else _STRONG.sub(r"<strong>\1</strong>", escape(part))
        for index, part in enumerate(parts)
    )


def paragraphs(text: object) -> str:
    """Escaped paragraphs; an empty line starts a new one."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", str(text)) if block.strip()]
    return "\n".join(f"<p>{inline(block)}</p>" for block in blocks)


def number(value: Any, digits: int, decimals: int | None = None) -> str:
    """A number with ``decimals`` places, or with ``digits`` significant digits where those would hide it."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}".replace("-", MINUS)
    value = float(value)
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


def _decimals(largest: float, digits: int) -> int:
    """Places after the point that give ``digits`` significant digits of a number."""
    return max(0, digits - 1 - (math.floor(math.log10(largest)) if largest else 0))


def frame(table: Any) -> pd.DataFrame:
    """A DataFrame from what a table may be given as.

    Raises:
        InputError: it is neither pandas nor xarray nor a list of mappings.
    """
    if isinstance(table, pd.DataFrame):
        named = table.index.name is not None or isinstance(table.index, pd.MultiIndex)
        return table.reset_index() if named else table
    if isinstance(table, pd.Series):
        return frame(table.to_frame())
    if isinstance(table, xr.DataArray):
        table = table if table.name is not None else table.rename("value")
        return table.to_dataframe().reset_index()
    if isinstance(table, xr.Dataset):
        return table.to_dataframe().reset_index()
    if isinstance(table, list) and all(isinstance(row, Mapping) for row in table):
        return pd.DataFrame(table)
    raise InputError(
        type(table).__name__,
        "a DataFrame, a Dataset, a DataArray or a list of mappings",
        "Convert it first.",
    )


def table_rows(table: pd.DataFrame, digits: int) -> str:
    """Head and body of a table; columns of numbers are set flush right."""
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in table.dtypes
    ]
    flush = [' class="n"' if right else "" for right in numeric]
    # One count of decimals per column, from its largest number, keeps the points under each other.
    decimals = [
        _column_decimals(table.iloc[:, index], digits) if right else None
        for index, right in enumerate(numeric)
    ]
    head = "".join(
        f'<th scope="col"{side}>{escape(str(name).replace("_", " "))}</th>'
        for name, side in zip(table.columns, flush, strict=True)
    )
    rows = []
    for row in table.itertuples(index=False, name=None):
        cells = "".join(
            f"<td{side}>{_cell(value, digits, places)}</td>"
            for value, side, places in zip(row, flush, decimals, strict=True)
        )
        rows.append(f"<tr>{cells}</tr>")
    return f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def _column_decimals(column: pd.Series, digits: int) -> int | None:
    numbers = np.abs(column.to_numpy(dtype=float, na_value=np.nan))
    numbers = numbers[np.isfinite(numbers)]
    return _decimals(float(f"{numbers.max():.{digits}g}"), digits) if numbers.size else None


def _cell(value: Any, digits: int, decimals: int | None) -> str:
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return number(value, digits, decimals)
    return DASH if value is None or value is pd.NA or value is pd.NaT else escape(value)
