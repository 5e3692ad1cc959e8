"""The map of a channel is what was written, bit for bit, and so is what its Python reads."""

from __future__ import annotations

import numpy as np
import pytest
from store_recording import TEXT_TOKENS, hidden_value

from ditscope.cache import Address
from ditscope.errors import InputError


def test_an_image_channel_has_all_tokens(ask, run, place, cache) -> None:
    said = ask("channel_map", **place, channel=70)
    expected = hidden_value(cache.schema, 1, Address("image", "block_output", 3, "uncond", 4))[:, 67]
    assert said.arrays["values"].tobytes() == expected.tobytes()
    assert said.arrays["values"].dtype.name == "bfloat16"
    assert "token" not in said.arrays
    assert run(said, "values").values.tobytes() == expected.tobytes()


def test_a_text_channel_has_the_real_tokens(ask, place, cache) -> None:
    said = ask("channel_map", **place | {"stream": "text"}, channel=3)
    expected = hidden_value(cache.schema, 1, Address("text", "block_output", 3, "uncond", 4))[:, 0]
    assert said.arrays["values"].tobytes() == expected.tobytes()
    assert len(said.arrays["values"]) == TEXT_TOKENS < cache.schema.stream("text").tokens


def test_the_scale_is_the_largest_of_the_sample(ask, cache) -> None:
    said = ask("channel_scale", stream="image", site="block_output", sample=1, channel=70)
    own = cache.hidden().sel(sample=1, channel=70).values.astype(np.float32)
    assert said.values["largest"] == abs(own).max()


def test_without_a_channel_it_is_the_first_in_the_ranking(ask, place) -> None:
    for statistic in ("mean_abs", "abs_mean"):
        said = ask("channel_map", **place, statistic=statistic)
        first = 3 + ask("channel_ranking", **place, statistic=statistic).arrays["order"][0]
        assert said.values["channel"] == first
        named = ask("channel_map", **place, channel=first)
        assert said.arrays["values"].tobytes() == named.arrays["values"].tobytes()
        assert said.values["code"] == named.values["code"]


def test_a_channel_that_was_not_recorded_is_refused(ask, place) -> None:
    with pytest.raises(InputError, match="channel 2"):
        ask("channel_map", **place, channel=2)
