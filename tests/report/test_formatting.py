"""Numbers and tables as text: digits, what is no number, and a table's columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ditscope.errors import InputError
from ditscope.plots._text import DASH, MINUS
from ditscope.report.formatting import columns, number, spread


@pytest.mark.parametrize(
    ("value", "digits", "decimals", "text"),
    [
        (0.0, 3, None, "0.00"),
        (-0.0, 3, None, "0.00"),
        (99.96, 3, None, "100"),  # three digits, not the four that the places of 99 would give
        (999.96, 4, None, "1,000"),
        (0.099996, 3, None, "0.100"),
        (1234.5678, 6, None, "1,234.57"),
        (-9999999.0, 3, None, f"{MINUS}1.00e+07"),
        (0.00001234, 3, None, f"1.23e{MINUS}05"),
        (0.004, 3, 2, "0.00400"),  # two places would hide it
        (0.0, 3, 1, "0.0"),
        (np.float16(0.5), 2, None, "0.50"),
        (-1234567, 3, None, f"{MINUS}1,234,567"),
        (np.uint8(255), 1, None, "255"),
        (np.bool_(True), 3, None, "yes"),
        (np.float32("nan"), 3, 2, DASH),
        (np.inf, 3, 2, "∞"),
        (-np.inf, 3, None, f"{MINUS}∞"),
    ],
)
def test_a_number_is_written_with_its_digits(value, digits, decimals, text) -> None:
    assert number(value, digits, decimals) == text


def test_a_columns_points_are_under_each_other_whatever_else_is_in_it() -> None:
    found = columns(pd.DataFrame({"mean_abs": [np.inf, 12.345, np.nan, -0.25, 0.001]}), 3)
    assert found == [("mean abs", True, ["∞", "12.3", DASH, f"{MINUS}0.2", "0.00100"])]
    assert columns(pd.DataFrame({"x": [np.nan, np.inf]}), 3) == [("x", True, [DASH, "∞"])]


def test_only_columns_of_numbers_are_numeric_and_what_is_missing_is_a_dash() -> None:
    table = pd.DataFrame(
        {
            "whole": pd.array([1200, None], dtype="Int64"),
            "truth": pd.array([False, None], dtype="boolean"),
            "mixed": pd.Series([1.5, None], dtype=object),
            "word": ["a", None],
            "day": [pd.Timestamp("2026-01-02"), pd.NaT],
        }
    )
    assert columns(table, 3) == [
        ("whole", True, ["1,200", DASH]),
        ("truth", False, ["no", DASH]),
        ("mixed", False, ["1.50", DASH]),
        ("word", False, ["a", DASH]),
        ("day", False, ["2026-01-02 00:00:00", DASH]),
    ]


def test_named_indices_and_labels_are_columns_and_row_numbers_are_not() -> None:
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["edit", "draw"])
    series = pd.Series([1.0, 2.0, 3.0, 4.0], index=index, name="psnr")
    array = series.to_xarray()
    expected = [
        ("edit", False, ["a", "a", "b", "b"]),
        ("draw", True, ["0", "1", "0", "1"]),
        ("psnr", True, ["1.00", "2.00", "3.00", "4.00"]),
    ]
    for table in (series, series.to_frame(), array, array.to_dataset()):
        assert columns(table, 3) == expected
    assert [column.name for column in columns(series.reset_index(drop=True), 3)] == ["psnr"]
    assert [column.name for column in columns(xr.DataArray([1.0], dims="edit"), 3)] == ["edit", "value"]
    for table in ("psnr", [1, 2], {"a": [1]}, np.ones(2)):
        with pytest.raises(InputError, match="expected a DataFrame, a Dataset"):
            columns(table, 3)


def test_mappings_are_indented_and_long_texts_have_a_line_each() -> None:
    assert spread({"seeds": [0, 1], "versions": {"torch": "2", "old": {"x": 1}}}) == (
        "seeds: 0, 1\nversions: \n  torch: 2\n  old: \n    x: 1"
    )
    long = "a small red circle at the left"
    assert spread([long, "a"]) == f"{long}\na"
    assert spread("abc") == "abc"


def test_an_array_without_a_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="with a dimension"):
        columns(xr.DataArray(3.0), 3)
