from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.channels import ChannelSet
from ditscope.errors import InputError

DIMS = ("sample", "step", "branch", "block", "token", "channel")


def test_sets_are_slices_of_the_order(make_hidden):
    hidden = make_hidden()
    ranking = passes.rank_channels(hidden)
    order = ranking.order.values
    for block, ids in enumerate(order):
        assert ranking.top(5)[block].tolist() == ids[:5].tolist()
        assert ranking.bottom(5)[block].tolist() == ids[:-6:-1].tolist()
        assert ranking.window(3, 9)[block].tolist() == ids[3:9].tolist()
        assert ranking.middle(4)[block].tolist() == ids[10:14].tolist()
    assert ranking.top(24).k == 24


def test_what_a_ranking_offers_as_controls_says_so(make_hidden):
    ranking = passes.rank_channels(make_hidden())
    massive = ranking.top(3)
    assert not massive.control
    controls = [ranking.bottom(3), ranking.middle(3), ranking.window(3, 6), ranking.random(3)]
    assert all(each.control for each in [*controls, ranking.energy_matched(massive)])
    assert ranking.random(3, draws=2).draw(1).control


def test_random_sets_are_reproducible_and_independent(make_hidden):
    ranking = passes.rank_channels(make_hidden())
    sets = ranking.random(8, draws=3, seed=5)
    again = ranking.random(8, draws=2, seed=5)
    np.testing.assert_array_equal(sets.ids.isel(draw=slice(2)), again.ids)
    part = passes.rank_channels(make_hidden().sel(block=[2, 3])).random(8, draws=3, seed=5)
    np.testing.assert_array_equal(sets.draw(1)[3], part.draw(1)[3])
    rows = {tuple(sorted(sets.draw(d)[b])) for d in range(3) for b in range(4)}
    assert len(rows) == 3
    anew = ranking.random(8, draws=3, seed=5, shared=False)
    assert len({tuple(sorted(anew.draw(d)[b])) for d in range(3) for b in range(4)}) == 12
    matched = ranking.energy_matched(ranking.top(2), draws=2)
    first, second = (set(matched.draw(0)[b]) for b in (0, 1))
    assert len(first & second) >= min(len(first), len(second)) - 2
    assert not np.array_equal(sets.ids, ranking.random(8, draws=3, seed=6).ids)
    assert all(len(set(row)) == 8 for row in rows)


def test_random_sets_are_uniform(make_hidden):
    ranking = passes.rank_channels(make_hidden(samples=1, blocks=1))
    counts = np.bincount(ranking.random(6, draws=800).ids.values.ravel(), minlength=24)
    expected = 800 * 6 / 24  # standard deviation 12
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_random_sets_without_a_set_have_none_of_it_and_are_uniform_over_the_others(make_hidden):
    ranking = passes.rank_channels(make_hidden())
    massive = ChannelSet.of({block: [block + 3 * at for at in range(6)] for block in range(4)})
    sets = ranking.random(8, draws=800, seed=3, without=massive)
    free = ranking.random(8, draws=800, seed=3)
    for block in range(4):
        ids = sets.ids.sel(block=block).values
        assert not np.isin(ids, massive[block]).any()
        assert all(len(set(row)) == 8 for row in ids)
        others = np.setdiff1d(np.arange(24), massive[block])
        expected = 800 * 8 / 18
        assert abs(np.bincount(ids.ravel(), minlength=24)[others] - expected).max() < 5 * np.sqrt(expected)
        # What the free draw took beside the set is taken here too: the order is the same.
        for own, drawn in zip(ids, free.ids.sel(block=block).values, strict=True):
            assert set(drawn) - set(massive[block]) <= set(own)
    assert ranking.random(8, without=ranking.top(6)).label == "random 8 without top 6 by mean_abs"
    assert sets.control


def test_energy_matched_is_outside_the_set_and_close(make_hidden):
    hidden = make_hidden(channels=200, blocks=2)
    ranking = passes.rank_channels(hidden)
    target = ranking.window(20, 30)
    matched = ranking.energy_matched(target, draws=4, seed=1)
    energy = (hidden.values.astype(float) ** 2).mean((0, 1, 2, 4))
    for block in range(2):
        for draw in range(4):
            ids = matched.draw(draw)[block]
            assert not set(ids) & set(target[block])
            reached = energy[block, ids].sum() / energy[block, target[block]].sum()
            np.testing.assert_allclose(reached, matched.match_ratio.sel(block=block, draw=draw), rtol=1e-9)
            assert 0.7 < reached < 1.4


def test_magnitude_matched_is_outside_the_set_and_close(make_hidden):
    hidden = make_hidden(channels=200, blocks=2)
    ranking = passes.rank_channels(hidden, statistic="std")
    target = ranking.window(20, 30)
    matched = ranking.magnitude_matched(target, draws=3, seed=1)
    magnitude = abs(hidden.values.astype(float)).mean((0, 1, 2, 4))
    for block, draw in np.ndindex(2, 3):
        ids = matched.draw(draw)[block]
        assert not set(ids) & set(target[block])
        reached = magnitude[block, ids].sum() / magnitude[block, target[block]].sum()
        np.testing.assert_allclose(reached, matched.match_ratio.sel(block=block, draw=draw), rtol=1e-6)
        assert 0.8 < reached < 1.25
    assert "recorded magnitude" in repr(matched)
    assert matched.label == "magnitude-matched to ranks 20 to 29 by std"
    assert (matched.control, matched.matched) == (True, "recorded magnitude")


def test_energy_matched_takes_everything_when_the_set_holds_the_most():
    values = np.ones((1, 1, 1, 1, 4, 10))
    values[..., 3] = 100
    ranking = passes.rank_channels(xr.DataArray(values, dims=DIMS))
    matched = ranking.energy_matched(ranking.top(1))
    assert sorted(matched[0]) == [c for c in range(10) if c != 3]
    np.testing.assert_allclose(matched.match_ratio, 9 / 10_000)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.top(25), "k=25.*1 to 24"),
        (lambda r: r.top(0), "k=0"),
        (lambda r: r.top(2.5), "k=2.5"),
        (lambda r: r.top(True), "k=True"),
        (lambda r: r.random(3, draws=0), "draws=0"),
        (lambda r: r.random(9, without=r.top(16)), "k=9.*without top 16"),
        (lambda r: r.random(3, without=r.random(3, draws=2)), "draw"),
        (lambda r: r.random(3, without=ChannelSet.of([9], stream="text")), "text stream"),
        (lambda r: r.window(5, 3), "ranks 5 to 3"),
        (lambda r: r.window(20, 25), "<= 24"),
        (lambda r: r.energy_matched(r.random(3, draws=2)), "draw"),
        (lambda r: r.energy_matched(r.top(24)), "every channel"),
        (lambda r: r.energy_matched(ChannelSet.of([99])), "channel 99"),
        (lambda r: r.energy_matched(ChannelSet.of([9], stream="text")), "text stream"),
        (lambda r: r.energy_matched(ChannelSet.of({0: [9]})), "block 1"),
    ],
)
def test_impossible_sets_are_refused(make_hidden, call, words):
    with pytest.raises(InputError, match=words):
        call(passes.rank_channels(make_hidden()))


def test_repr_names_the_leaders_and_escapes_html(make_hidden):
    hidden = make_hidden().assign_coords(block_name=("block", ["<b>x", "b", "c", "d"]))
    ranking = passes.rank_channels(hidden)
    leader = str(ranking.order.values[1, 0])
    assert f"block b     {leader} (" in repr(ranking)
    assert "&lt;b&gt;x" in ranking._repr_html_()
    assert "<b>x" not in ranking._repr_html_()
    assert "<b>x" not in ranking.top(2)._repr_html_()


def test_a_ranking_comes_back_from_its_file(make_hidden, tmp_path):
    ranking = passes.rank_channels(make_hidden(), over=["sample", "step", "branch", "token"])
    ranking.to_file(tmp_path / "ranking.nc")
    again = passes.Ranking.from_file(tmp_path / "ranking.nc")
    assert again.top(5) == ranking.top(5)
    assert again.energy_matched(ranking.top(2), draws=2) == ranking.energy_matched(ranking.top(2), draws=2)
    np.testing.assert_array_equal(again.scores, ranking.scores)
    assert (again.statistic, again.stream, again.site, again.over) == (
        "mean_abs",
        "image",
        "block_output",
        ranking.over,
    )
    with pytest.raises(InputError):  # samples were averaged before it was written
        passes.stability(again, across=["sample"])


def test_what_is_no_rankings_file_is_refused(tmp_path):
    xr.Dataset({"a": ("x", [1])}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    (tmp_path / "text.nc").write_text("none")
    for name in ("other.nc", "text.nc"):
        with pytest.raises(InputError, match=f"{name}, which holds no ranking"):
            passes.Ranking.from_file(tmp_path / name)
