"""Fixtures of the figures' tests; the arrays are made in ``figure_data``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import xarray as xr
from figure_data import (
    make_hidden,
    make_images,
    make_iou,
    make_jaccard,
    make_masks,
    make_rows,
    make_running,
    make_scores,
    make_summary,
)


@pytest.fixture
def scores() -> xr.DataArray:
    return make_scores()


@pytest.fixture
def hidden() -> xr.DataArray:
    return make_hidden()


@pytest.fixture
def images() -> xr.DataArray:
    return make_images()


@pytest.fixture
def masks() -> SimpleNamespace:
    found, reference, iou = make_masks()
    return SimpleNamespace(found=found, reference=reference, iou=iou)


@pytest.fixture
def iou() -> xr.Dataset:
    return make_iou()


@pytest.fixture
def summary() -> xr.Dataset:
    return make_summary()


@pytest.fixture
def jaccard() -> xr.DataArray:
    return make_jaccard()


@pytest.fixture
def running() -> xr.DataArray:
    return make_running()


@pytest.fixture
def rows() -> list[dict[str, float]]:
    return make_rows()
