"""Where the subject is: known on embedded models, given by file on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.errors import InputError
from ditscope.studies.claim import Claim
from ditscope.studies.subject import reference_finding, reference_of


@dataclass(frozen=True)
class Anything(Claim):
    """No claim."""

    name, claim = "anything", "Anything."

    def test(self, trial, chosen):
        """Nothing."""
        raise NotImplementedError

    def figures(self, result):
        """None."""
        return {}

    def work(self):
        """None."""
        raise NotImplementedError


@pytest.fixture
def cache():
    scenes = [ds.shapes.make_scene(seed) for seed in range(3)]
    images = xr.DataArray(
        np.stack([scene.image for scene in scenes]),
        dims=("sample", "y_pixel", "x_pixel", "rgb"),
        coords={
            "sample": [0, 1, 2],
            "prompt": ("sample", [scene.caption for scene in scenes]),
            "seed": ("sample", [0, 0, 0]),
        },
    )
    return SimpleNamespace(images=images, path="images.zarr")


def test_of_an_embedded_model_masks_follow_from_captions(cache) -> None:
    found = reference_of(Anything(), cache, "")
    xr.testing.assert_equal(found, ds.shapes.foreground(cache.images))
    assert reference_finding(Anything()).trusted


def test_of_other_models_masks_are_read_by_prompt_and_seed(cache, tmp_path) -> None:
    other = replace(Anything(), model="somebody/else")
    with pytest.raises(InputError, match="no reference masks of the images of somebody/else"):
        reference_of(other, cache, "")
    masks = ds.shapes.foreground(cache.images).isel(sample=[2, 0, 1]).drop_vars("sample")
    masks.astype(np.int8).to_netcdf(tmp_path / "masks.nc")
    found = reference_of(other, cache, str(tmp_path / "masks.nc"))
    assert np.array_equal(found, ds.shapes.foreground(cache.images))
    assert found.dtype == bool
    masks.astype(np.int8).isel(sample=[0, 1]).to_netcdf(tmp_path / "few.nc")
    with pytest.raises(InputError, match="no mask of"):
        reference_of(other, cache, str(tmp_path / "few.nc"))
    assert reference_finding(other).trusted is None
