from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ditscope.plots._scores import over_median


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float64, (2, 7), elements=st.floats(0, 1e6) | st.just(np.nan)))
def test_over_median_equals_its_definition(magnitude: np.ndarray) -> None:
    for row, ratio in zip(magnitude, over_median(magnitude), strict=True):
        clean = row[~np.isnan(row)]
        if clean.size and np.median(clean) > 0:
            assert np.allclose(ratio[~np.isnan(row)], clean / np.median(clean))
        else:
            assert np.isnan(ratio).all()
