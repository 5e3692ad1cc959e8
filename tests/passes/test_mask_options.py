from __future__ import annotations

import pytest

from ditscope.errors import InputError
from ditscope.passes import MaskOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": "max"}, "'minmax'"),
        ({"polarity": "up"}, "'signed'"),
        ({"n_clusters": 1}, "n_clusters=1"),
        ({"percentile": 50}, "percentile"),
        ({"n_init": 0}, "n_init"),
        ({"components": 0}, "components"),
        ({"collapse_share": 0.6}, "collapse_share"),
        ({"vote": True, "n_clusters": 3}, "a vote on 3 clusters"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        MaskOptions(**options)


def test_attributes_are_those_that_are_set():
    assert "components" not in MaskOptions().attributes()
    assert MaskOptions(components=3, n_init=2).attributes() == MaskOptions().attributes() | {
        "components": 3,
        "n_init": 2,
    }
