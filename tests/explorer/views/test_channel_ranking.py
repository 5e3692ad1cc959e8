"""Rankings of one place, against numpy on what was written."""

from __future__ import annotations

import numpy as np
import pytest
from store_recording import hidden_value, make_schema, record

from ditscope.cache import Address, open_cache
from ditscope.errors import InputError
from ditscope.explorer.view import Place
from ditscope.explorer.views import channel_ranking

NUMPY = {
    "mean_abs": lambda x: abs(x).mean(0),
    "abs_mean": lambda x: abs(x.mean(0)),
    "std": lambda x: x.std(0),
    "abs_max": lambda x: abs(x).max(0),
    "energy": lambda x: (x**2).mean(0),
}


@pytest.mark.parametrize("statistic", NUMPY)
def test_scores_are_those_of_numpy(ask, run, place, cache, statistic) -> None:
    said = ask("channel_ranking", **place, statistic=statistic)
    values = hidden_value(cache.schema, 1, Address("image", "block_output", 3, "uncond", 4)).astype(float)
    expected = NUMPY[statistic](values)
    np.testing.assert_allclose(said.arrays["score"], expected, rtol=1e-5)
    assert said.arrays["order"].tolist() == np.argsort(-said.arrays["score"], kind="stable").tolist()
    np.testing.assert_allclose(said.values["median"], np.median(expected), rtol=1e-5)
    np.testing.assert_allclose(run(said, "scores"), said.arrays["score"], rtol=1e-6)


def test_without_statistics_the_hidden_states_are_read(tmp_path, ask, run, place, cache) -> None:
    recorded = ask("channel_ranking", **place)
    bare = open_cache(record(tmp_path / "bare.zarr", make_schema(stats=False)))
    said = channel_ranking(bare, Place("image", "block_output", 1, 3, "uncond", 4))
    np.testing.assert_allclose(said.arrays["score"], recorded.arrays["score"], rtol=1e-6)
    np.testing.assert_allclose(run(said, "scores"), said.arrays["score"], rtol=1e-6)


def test_modulation_is_ranked_by_its_values(ask, run, place, cache) -> None:
    said = ask("channel_ranking", **place | {"site": "attn_gate"})
    values = hidden_value(cache.schema, 1, Address("image", "attn_gate", 3, "uncond", 4))
    assert said.arrays["score"].tolist() == abs(values).tolist()
    assert run(said, "scores").values.tolist() == abs(values).tolist()


def test_channels_that_are_not_finite_have_no_rank(tmp_path) -> None:
    def broken(schema, sample, address):
        values = hidden_value(schema, sample, address)
        values[:, 5] = np.nan
        return values

    from store_recording import fill, open_writer

    with open_writer(tmp_path / "a.zarr", make_schema(streams=make_schema().streams[:1])) as writer:
        fill(writer, 1, broken)
        writer.commit(1)
    said = channel_ranking(open_cache(tmp_path / "a.zarr"), Place("image", "block_output", 1, 3, "uncond", 4))
    assert sorted(said.arrays["order"].tolist()) == [i for i in range(70) if i != 5]


def test_an_unknown_statistic_is_refused(ask, place) -> None:
    with pytest.raises(InputError, match="median"):
        ask("channel_ranking", **place, statistic="median")
