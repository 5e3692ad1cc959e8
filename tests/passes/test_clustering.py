from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from ditscope.passes.clustering import foreground, scale_channels
from ditscope.passes.mask_options import MaskOptions

EDGE = 16
Y, X = np.divmod(np.arange(EDGE * EDGE), EDGE)
BORDER = (Y == 0) | (X == 0) | (Y == EDGE - 1) | (X == EDGE - 1)
DISC = (Y - 7.5) ** 2 + (X - 7.5) ** 2 < 16


def planted(sign: float = 1.0, channels: int = 6, noise: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(0)
    return sign * (50 + 4 * DISC[:, None] * random.uniform(0.5, 2, channels)) + noise * random.normal(
        size=(EDGE**2, channels)
    )


def share(mask):
    return (mask & DISC).sum() / (mask | DISC).sum()


def test_is_the_papers_protocol_step_by_step():
    values = np.random.default_rng(3).normal(size=(EDGE**2, 5))
    values[:, 4] = 7  # constant
    scaled = (values - values.min(0)) / np.maximum(np.ptp(values, axis=0), 1e-30)
    scaled[:, 4] = 0
    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(scaled)
    heat = scaled.sum(1)
    expected = cluster == (heat[cluster == 1].mean() > heat[cluster == 0].mean())
    tokens = foreground(values, BORDER, MaskOptions())
    np.testing.assert_array_equal(tokens.mask, expected)
    np.testing.assert_allclose(tokens.heat, heat)


def test_finds_the_object_and_fails_with_the_sign_as_the_paper_would():
    assert share(foreground(planted(), BORDER, MaskOptions()).mask) > 0.95
    assert share(foreground(planted(-1), BORDER, MaskOptions()).mask) == 0
    assert share(~foreground(planted(-1), BORDER, MaskOptions()).mask) > 0.95


def test_a_small_object_is_the_foreground_though_the_rest_has_more_heat_in_sum():
    spot = (Y < 3) & (X < 3)
    values = 3 * spot[:, None] + np.random.default_rng(0).uniform(0, 1.5, (EDGE**2, 4))
    np.testing.assert_array_equal(foreground(values, BORDER, MaskOptions()).mask, spot)


@pytest.mark.parametrize("polarity", ["abs", "border", "border_majority", "minority"])
def test_other_rules_do_not_care_for_the_sign(polarity):
    for sign in (1, -1):
        assert share(foreground(planted(sign), BORDER, MaskOptions(polarity=polarity)).mask) > 0.95


def test_register_tokens_collapse_minmax_but_not_percentile():
    values = planted()
    values[:3] += 400
    collapsed = foreground(values, BORDER, MaskOptions()).mask
    assert collapsed.mean() == pytest.approx(3 / EDGE**2)
    assert share(foreground(values, BORDER, MaskOptions(scale="percentile")).mask) > 0.9


@pytest.mark.parametrize("scale", ["minmax", "zscore", "percentile"])
def test_scales(scale):
    values = np.random.default_rng(0).normal(3, 5, (200, 4))
    scaled = scale_channels(values, scale)
    if scale == "zscore":
        np.testing.assert_allclose([scaled.mean(0), scaled.std(0)], [[0] * 4, [1] * 4], atol=1e-12)
    else:
        np.testing.assert_allclose([scaled.min(0), scaled.max(0)], [[0] * 4, [1] * 4])
    np.testing.assert_array_equal(scale_channels(np.full((9, 2), 1 / 3), scale), 0)


def test_rounding_noise_of_a_constant_channel_is_not_stretched():
    values = np.full((100, 1), 1e5)
    values[3] += 1e-9
    assert (scale_channels(values, "minmax") == 0).all()


def test_pca_finds_a_direction_that_no_channel_has_and_is_reproducible():
    random = np.random.default_rng(0)
    values = (
        10 * random.normal(size=(EDGE**2, 1)) * [[1, -1]]
        + DISC[:, None] * 3
        + 0.2 * random.normal(size=(EDGE**2, 2))
    )
    mask = foreground(values, BORDER, MaskOptions(components=2)).mask
    np.testing.assert_array_equal(mask, foreground(values, BORDER, MaskOptions(components=2)).mask)
    assert foreground(
        values[:, :1], BORDER, MaskOptions(components=12)
    ).mask.any()  # fewer channels than components


def test_non_finite_channels_and_flat_features():
    values = planted()
    values[4, 2] = np.nan
    tokens = foreground(values, BORDER, MaskOptions())
    assert tokens.nonfinite == 1
    assert share(tokens.mask) > 0.95
    flat = foreground(np.ones((EDGE**2, 3)), BORDER, MaskOptions())
    assert not flat.mask.any()
    infinite = foreground(np.full((EDGE**2, 2), np.inf), BORDER, MaskOptions())
    assert not infinite.mask.any()
    assert infinite.nonfinite == 2


def test_a_large_object_at_the_border_is_told_by_most_of_the_border_alone():
    """Of the object a smaller part is on the border, and of the border a larger part is background's."""
    left = X < EDGE // 2 - 2
    values = 3.0 * left[:, None] + np.random.default_rng(0).uniform(0, 0.1, (EDGE**2, 4))
    found = foreground(values, BORDER, MaskOptions(polarity="border_majority")).mask
    np.testing.assert_array_equal(found, left)
    np.testing.assert_array_equal(foreground(values, BORDER, MaskOptions(polarity="border")).mask, ~left)
