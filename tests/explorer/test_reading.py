"""Reading at one place, of stores with all tokens and with some."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from store_recording import drawn_tokens, hidden_value, make_schema, record

from ditscope.cache import Address, open_cache
from ditscope.errors import InputError
from ditscope.explorer import reading
from ditscope.explorer.view import Place

AT = Place("image", "block_output", 1, 3, "uncond", 4)


def test_values_are_those_that_were_written(cache) -> None:
    expected = hidden_value(cache.schema, 1, Address("image", "block_output", 3, "uncond", 4))
    assert reading.values_at(cache, AT).tobytes() == expected.tobytes()
    found = reading.values_at(cache, AT, [70, 3])
    assert found.tobytes() == expected[:, [67, 0]].tobytes()
    states = reading.states_at(cache, AT, [70, 3])
    assert states.shape == (1, 1, 1, 1, 12, 2)
    assert states.values.tobytes() == found.tobytes()


def test_what_is_not_there_is_refused(cache) -> None:
    with pytest.raises(InputError, match="sample 3; expected one of the 3 committed"):
        reading.values_at(cache, replace(AT, sample=3))
    with pytest.raises(InputError, match="attn_gate"):
        reading.values_at(cache, replace(AT, site="attn_gate"))
    with pytest.raises(InputError, match="step 2"):
        reading.values_at(cache, replace(AT, step=2))


def test_tokens_have_their_places(tmp_path, cache) -> None:
    assert reading.token_ids(cache, "image", 1).tolist() == list(range(12))
    assert reading.places_of(np.arange(4)) == {}
    assert reading.places_of(np.array([1, 2]))["token"].tolist() == [1, 2]
    stream = cache.schema.stream("image")
    for change in ({"token_ids": (2, 5, 11)}, {"random_tokens": 4}):
        own = replace(stream, **change)
        schema = make_schema(streams=(own,))
        other = open_cache(record(tmp_path / next(iter(change)), schema))
        expected = drawn_tokens(own, 1).tolist() if own.random_tokens else [2, 5, 11]
        assert reading.token_ids(other, "image", 1).tolist() == expected


def test_the_python_that_is_shown_reads_the_same(cache) -> None:
    code = f"{reading.opened_as(cache)}\nfound = cache.hidden(){reading.sel(AT, channel=70)}.values"
    names: dict = {}
    exec(code, names)
    assert names["found"].tobytes() == reading.values_at(cache, AT, [70])[:, 0].tobytes()
