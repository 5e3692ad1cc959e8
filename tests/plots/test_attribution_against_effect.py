from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from figure_checks import check_readable, drawn, same_picture, shuffled, words

import ditscope as ds
from ditscope.errors import InputError
from ditscope.plots import attribution_against_effect


def effects(seed: int) -> xr.Dataset:
    random = np.random.default_rng(seed)
    values = np.random.default_rng(0).normal(size=(3, 2, 1, 4, 5)) ** 3 + 0.1 * random.normal(
        size=(3, 2, 1, 4, 5)
    )
    return xr.Dataset(
        {"effect": (("sample", "step", "branch", "block", "channel"), values)},
        coords={
            "step": [0, 4],
            "branch": ["cond"],
            "block": [0, 1, 5, 9],
            "channel": range(5),
            "prompt": ("sample", list("abc")),
        },
        attrs={"model": "shapes", "stream": "image", "site": "block_output"},
    )


def test_points_are_the_common_places() -> None:
    first, second = effects(1), effects(2).isel(channel=[3, 1])
    figure = attribution_against_effect(first, second)
    for panel, step in enumerate((0, 4)):
        (points,) = figure.axes[panel].collections
        expected = {
            (
                float(second.effect.sel(at | {"step": step}).item()),
                float(first.effect.sel(at | {"step": step}).item()),
            )
            for at in (
                {"block": block, "channel": channel, "sample": sample}
                for block in (0, 1, 5, 9)
                for channel in (1, 3)
                for sample in range(3)
            )
        }
        assert {tuple(map(float, point)) for point in points.get_offsets()} == expected
    assert "shapes" in words(figure)


def test_the_agreement_is_told_with_its_interval() -> None:
    first, second = effects(1), effects(2)
    agreement = ds.passes.rank_agreement(first.effect, second.effect)
    figure = drawn(attribution_against_effect(first, second, agreement))
    own = agreement.isel(branch=0, step=1)
    assert f"step 4: rank corr. {own['mean']:.2f} [{own['low']:.2f}, {own['high']:.2f}]" in words(figure)
    check_readable(figure)


def test_the_order_of_dims_and_labels_does_not_matter() -> None:
    first, second = effects(1), effects(2)
    assert same_picture(
        attribution_against_effect(first, second),
        attribution_against_effect(shuffled(first, "channel"), second.transpose(*list(second.dims)[::-1])),
    )


def test_what_is_missing_is_said() -> None:
    with pytest.raises(InputError, match="effect"):
        attribution_against_effect(effects(1).drop_vars("effect"), effects(2))
