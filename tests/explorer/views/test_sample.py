"""A sample's prompt, seed and image."""

from __future__ import annotations

import pytest

from ditscope.errors import InputError


def test_the_image_is_the_recorded_one(ask, run, cache) -> None:
    said = ask("sample", sample=2)
    assert (said.values["prompt"], said.values["seed"]) == ("ein grünes Dreieck <b>", "0")
    assert said.arrays["image"].tobytes() == cache.images.sel(sample=2).values.tobytes()
    assert run(said, "image").values.tobytes() == said.arrays["image"].tobytes()
    with pytest.raises(InputError, match="sample 3"):
        ask("sample", sample=3)
