"""Fixtures of the figures' tests; the arrays are made in ``figure_data``."""

from __future__ import annotations

from types import SimpleNamespace

import figure_data
import pytest
import xarray as xr


@pytest.fixture(scope="session")
def recording() -> xr.DataArray:
    return figure_data.make_recording()


@pytest.fixture
def scores() -> xr.DataArray:
    return figure_data.make_scores()


@pytest.fixture
def hidden() -> xr.DataArray:
    return figure_data.make_hidden()


@pytest.fixture
def images() -> xr.DataArray:
    return figure_data.make_images()


@pytest.fixture
def masks() -> SimpleNamespace:
    mask, reference, iou = figure_data.make_masks()
    return SimpleNamespace(mask=mask, reference=reference, iou=iou)


@pytest.fixture
def summary() -> xr.Dataset:
    return figure_data.make_summary()
