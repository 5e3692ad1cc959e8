"""Labels of captions and images."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.errors import InputError

PROMPTS = [
    "a small red circle at the left on a striped blue background",
    "a large white star in the centre on a plain red background",
]
TWO = "a small red circle at the left and a small green star at the right on a plain blue background"


def test_captions_say_six_things() -> None:
    found = ds.shapes.caption_labels(PROMPTS)
    assert found.sel(label="shape").values.tolist() == ["circle", "star"]
    assert found.isel(sample=0).values.tolist() == ["circle", "red", "small", "left", "blue", "striped"]
    named = xr.DataArray(PROMPTS, dims="sample", coords={"sample": [7, 9]})
    assert ds.shapes.caption_labels(named)["sample"].values.tolist() == [7, 9]
    with pytest.raises(InputError, match="one object"):
        ds.shapes.caption_labels([TWO])


def test_tokens_of_the_object_and_of_the_background() -> None:
    found = ds.shapes.caption_tokens([*PROMPTS, TWO], 24)
    words = [prompt.split() for prompt in (*PROMPTS, TWO)]
    named = [[[words[s][t] for t in np.flatnonzero(found.values[c, s])] for s in range(3)] for c in range(2)]
    assert named[0] == [["red", "circle"], ["white", "star"], ["red", "circle", "green", "star"]]
    assert named[1] == [["striped", "blue"], ["plain", "red"], ["plain", "blue"]]
    with pytest.raises(InputError, match="11 words|12 words"):
        ds.shapes.caption_tokens(PROMPTS, 5)


def test_words_are_tokens_of_the_pipeline(dit) -> None:
    """The T5 tokenizer gives one token a word, and nothing before the first."""
    tokenizer = dit.diffusers_pipeline.tokenizer_2
    ids = tokenizer(TWO)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[: len(TWO.split())] == TWO.split()


def test_foreground_is_the_reference_mask_of_each_image() -> None:
    scenes = [ds.shapes.make_scene(seed) for seed in range(3)]
    captions = [scene.attributes.caption for scene in scenes]
    images = xr.DataArray(
        np.stack([scene.image for scene in scenes]),
        dims=("sample", "y_pixel", "x_pixel", "rgb"),
        coords={"prompt": ("sample", captions), "sample": [2, 4, 6]},
    )
    found = ds.shapes.foreground(images)
    for row, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        assert np.array_equal(found[row], ds.shapes.reference_mask(scene.image, caption))
    tokens = ds.shapes.foreground(images, (16, 16))
    edge = scenes[0].image.shape[0] // 16
    shares = found.values.reshape(3, 16, edge, 16, edge).mean((2, 4))
    assert np.array_equal(tokens, shares > 0.5)
    assert tokens["sample"].values.tolist() == [2, 4, 6]
