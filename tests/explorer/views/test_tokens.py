"""Tokens: norms and largest channels, against numpy on what was written."""

from __future__ import annotations

import numpy as np
from store_recording import hidden_value

from ditscope.cache import Address


def test_norms_and_largest_channels_are_those_of_numpy(ask, run, place, cache) -> None:
    said = ask("tokens", **place, top=4)
    stored = hidden_value(cache.schema, 1, Address("image", "block_output", 3, "uncond", 4))
    values = stored.astype(np.float64)
    np.testing.assert_allclose(said.arrays["norm"], np.linalg.norm(values, axis=1), rtol=1e-6)
    np.testing.assert_allclose(run(said, "norm"), said.arrays["norm"], rtol=1e-5)
    sizes = -np.sort(-abs(values), axis=1)[:, :4]
    assert abs(said.arrays["value"].astype(float)).tolist() == sizes.tolist()
    for token in range(12):
        own = said.arrays["channel"][token] - 3
        assert stored[token, own].tobytes() == said.arrays["value"][token].tobytes()


def test_more_channels_than_there_are_is_all_of_them(ask, place) -> None:
    assert ask("tokens", **place | {"stream": "text"}, top=1000).arrays["channel"].shape == (4, 70)


def test_tokens_of_a_text_are_called_what_the_tokenizer_calls_them(ask, place) -> None:
    assert ask("tokens", **place | {"stream": "text"}).values["text"] == ["plain", "<b>", "<b>", "<b>"]
    assert "text" not in ask("tokens", **place).values
