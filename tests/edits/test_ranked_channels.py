"""Each image's own channels of some ranks, against numpy in float64 and plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ditscope as ds
from ditscope.edits import EditedVisit
from ditscope.edits.ranked_channels import RankedChannels
from ditscope.errors import InputError

STATISTICS = {
    "mean_abs": lambda x: abs(x).mean(0),
    "abs_mean": lambda x: abs(x.mean(0)),
    "std": lambda x: x.std(0),
    "abs_max": lambda x: abs(x).max(0),
    "energy": lambda x: (x**2).mean(0),
}
PLACES = {"top": slice(0, 5), "bottom": slice(15, 20), "middle": slice(7, 12), "window": slice(3, 8)}


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("which", PLACES)
def test_they_are_what_numpy_ranks(at_place, statistic, which) -> None:
    hidden = torch.randn(2, 7, 20) + torch.arange(20) % 3
    channels = RankedChannels(which=which, k=5, statistic=statistic, start=3)
    acts = torch.rand(2, 7, 1) < 0.7
    for mask in (None, acts):
        chosen = channels.choose(None, at_place(hidden, acts=mask), None).channels
        for row in range(2):
            own = hidden[row].double().numpy()[slice(None) if mask is None else acts[row, :, 0].numpy()]
            order = np.argsort(-STATISTICS[statistic](own), kind="stable")
            assert np.flatnonzero(chosen[row]).tolist() == sorted(order[PLACES[which]])


def test_channels_that_are_not_finite_have_no_rank_and_ties_go_to_the_lower(at_place) -> None:
    hidden = torch.ones(1, 4, 6)
    hidden[0, 1, 2], hidden[0, 2, 0], hidden[0, :, 5] = torch.nan, torch.inf, 0.0
    for which, expected in (("top", [1, 3]), ("bottom", [4, 5]), ("middle", [3, 4])):
        chosen = RankedChannels(which=which, k=2).choose(None, at_place(hidden), None).channels
        assert np.flatnonzero(chosen[0]).tolist() == expected


def test_an_edit_of_them_is_what_a_plain_hook_does(assert_does) -> None:
    def rule(old):
        own = old.abs().double().mean(dim=1).argsort(dim=1, descending=True)[:, :12]
        return old.masked_fill(torch.zeros(old.shape[0], 128).scatter_(1, own, 1).bool()[:, None], 0)

    assert_does(ds.edits.zero(ds.controls.top(12)), rule, ids=list(range(128)), n_channels=12)


def test_more_than_there_are_and_unknown_words_are_refused(dit) -> None:
    for channels in (ds.controls.top(129), ds.controls.window(120, 129)):
        with pytest.raises(InputError, match="ranks under 128"):
            EditedVisit(dit, [ds.edits.zero(channels)], range(2))
    for wrong, words in (
        ({"which": "most"}, "which 'most'"),
        ({"k": 0}, "k=0"),
        ({"statistic": "kurtosis"}, "kurtosis"),
        ({"start": -1}, "start=-1"),
        ({"stream": "sound"}, "stream 'sound'"),
        ({"control": 1}, "control 1"),
    ):
        with pytest.raises(InputError, match=words):
            RankedChannels(**{"which": "top", "k": 2, **wrong})
