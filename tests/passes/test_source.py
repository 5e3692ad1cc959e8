"""What every pass takes and refuses, by way of one of them."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope import passes
from ditscope.errors import InputError


def test_uncommitted_samples_do_not_count(make_hidden):
    hidden = make_hidden(dtype=np.float32, chunks=None)
    hidden[4:] = np.nan  # what a store holds before a sample is committed
    hidden["done"].values[4:] = False
    with pytest.warns(UserWarning, match="2 of 6 samples"):
        found = passes.channel_statistics(hidden)
    assert found["nonfinite"].sum() == 0
    np.testing.assert_allclose(found["mean_abs"], passes.channel_statistics(hidden[:4])["mean_abs"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda h: passes.channel_statistics(h, over=("sample", "time")), "'time'"),
        (lambda h: passes.channel_statistics(h, over=("channel",)), "'channel'"),
        (lambda h: passes.channel_statistics(h, stream="text"), "stream='image'"),
        (lambda h: passes.channel_statistics(h, site="mlp_output"), "site='block_output'"),
        (lambda h: passes.channel_statistics("store.zarr"), "open_cache"),
        (lambda h: passes.channel_statistics(h[:0]), "no samples"),
        (lambda h: passes.channel_statistics(h.rename(step="time")), "time"),
        (lambda h: passes.channel_statistics(h.to_dataset(name="mean")), "mean_abs, std, abs_max"),
        (
            lambda h: passes.channel_statistics(h.isel(sample=[0]).assign_coords(done=("sample", [False]))),
            "complete",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make_hidden, call, words):
    with pytest.raises(InputError, match=words):
        call(make_hidden())
