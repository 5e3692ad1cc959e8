"""Questions in words: parameters of every type, and what is refused."""

from __future__ import annotations

import pytest

from ditscope.cache.reader import Cache
from ditscope.errors import InputError
from ditscope.explorer.payload import Payload
from ditscope.explorer.view import Place, answer, view
from ditscope.explorer.views import VIEWS


@view
def probe(cache: Cache, at: Place, ids: tuple[int, ...], large: bool = False, factor: float = 2.0) -> Payload:
    return Payload({"at": at, "ids": ids, "large": large, "factor": factor})


def test_parameters_are_read_as_their_types(cache, place) -> None:
    said = probe.answer(cache, {**place, "ids": "3,5", "large": "1"}).values
    assert said["at"] == Place("image", "block_output", 1, 3, "uncond", 4)
    assert (said["ids"], said["large"], said["factor"]) == ((3, 5), True, 2.0)
    assert probe.answer(cache, {**place, "ids": "", "factor": "0.5"}).values["factor"] == 0.5
    assert said["at"].labels == {"sample": 1, "step": 3, "branch": "uncond", "block": 4}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": None}, "no step"),
        ({"ids": "3,x"}, "ids '3,x'"),
        ({"large": "yes"}, "large 'yes'"),
        ({"channel": "1"}, "parameter 'channel'"),
    ],
)
def test_what_is_missing_unknown_or_no_value_is_named(cache, place, change, words) -> None:
    asked = {**place, "ids": "3", **change}
    with pytest.raises(InputError, match=words):
        probe.answer(cache, {name: value for name, value in asked.items() if value is not None})


def test_a_store_is_asked_by_its_number(stores, place) -> None:
    said = answer(stores, "stores", {}).values["stores"]
    assert said == [{"name": "a.zarr", "kind": "recording"}, {"name": "sweep.zarr", "kind": "comparison"}]
    assert answer(stores, "recording", {"store": "0"}).values["name"] == "a.zarr"
    for asked, words in (({"store": "2"}, "store 2"), ({"store": "-1"}, "store -1"), ({}, "no store")):
        with pytest.raises(InputError, match=words):
            answer(stores, "recording", asked)
    with pytest.raises(InputError, match="a Comparison for channel_map"):
        answer(stores, "channel_map", {"store": "1", **place, "channel": "3"})
    with pytest.raises(InputError, match="view '../a'"):
        answer(stores, "../a", {"store": "0"})


def test_every_view_has_its_panel_beside_it_or_belongs_to_one_that_has() -> None:
    without = {name for name, each in VIEWS.items() if not each.panel.is_file()}
    assert without == {"recording", "comparison", "prompt_search"}
