"""Masks from image and text outputs of attention, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ditscope import passes
from ditscope.errors import CacheError, InputError
from ditscope.models import known_families

TOKENS = 7
CONCEPTS = xr.DataArray(
    np.array([[[0, 1, 1, 0, 0], [1, 0, 0, 0, 0]], [[0, 0, 0, 0, 1], [0, 0, 1, 1, 0]]], bool),
    dims=("concept", "sample", "token"),
    coords={"concept": ["object", "background"]},
)


class BothStreams:
    """A cache of outputs of attention of both streams, or of one."""

    def __init__(self, **streams: xr.DataArray) -> None:
        self._streams = streams

    def hidden(self, stream="image", site="block_output", *, channels=None):
        if stream not in self._streams:
            raise CacheError(f"no {stream}", "one that is there", "Record it.")
        return self._streams[stream].assign_attrs(stream=stream, site=site)

    def stats(self, stream="image", site="block_output"):
        raise KeyError("no statistics")


@pytest.fixture
def outputs(make_hidden):
    image = make_hidden(samples=2, blocks=3, spread=0.4)
    text = make_hidden(samples=2, blocks=3, edge=3, spread=0.4, seed=1).isel(token=slice(0, TOKENS))
    mask = np.arange(TOKENS) < np.array([[6], [5]])
    return image, text.drop_vars(["y", "x"]).assign_coords(token_mask=(("sample", "token"), mask))


def heat_of(image: np.ndarray, text: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """``[token]`` of one image at one block and step."""
    words = np.stack([text.astype(np.float64)[own].mean(0) for own in marked])
    likeness = image.astype(np.float64) @ words.T
    return 1 / (1 + np.exp(likeness[:, 1] - likeness[:, 0]))


def test_masks_equal_numpy(outputs) -> None:
    image, text = outputs
    cache = BothStreams(image=image, text=text)
    each = passes.concept_masks(cache, CONCEPTS, steps=None, branch="uncond", average=False)
    assert each["mask"].dims == ("block", "step", "sample", "y", "x")
    padded = np.pad(CONCEPTS.values, ((0, 0), (0, 0), (0, TOKENS - 5)))
    heats = np.empty((3, 3, 2, 36))
    for block, step, sample in np.ndindex(3, 3, 2):
        at = (sample, step, 1, block)
        heats[block, step, sample] = heat_of(image.values[at], text.values[at], padded[:, sample])
    np.testing.assert_allclose(each["heat"].values.reshape(heats.shape), heats, rtol=1e-10)
    expected = heats > heats.mean(-1, keepdims=True)
    np.testing.assert_array_equal(each["mask"].values.reshape(heats.shape), expected)
    mean = passes.concept_masks(cache, CONCEPTS, steps=None, branch="uncond", threshold="half", blocks=[0, 2])
    wanted = heats[[0, 2]].mean((0, 1))
    np.testing.assert_allclose(mean["heat"].values.reshape(2, 36), wanted)
    np.testing.assert_array_equal(mean["mask"].values.reshape(2, 36), wanted > 0.5)


def test_concepts_are_found_by_sample(outputs) -> None:
    image, text = outputs
    named = CONCEPTS.assign_coords(sample=[0, 1]).isel(sample=[1, 0])
    one, other = (
        passes.concept_masks(BothStreams(image=image, text=text), concepts) for concepts in (CONCEPTS, named)
    )
    xr.testing.assert_equal(one["heat"], other["heat"])


def test_families_with_a_text_stream_in_attention_allow_it() -> None:
    allowed = {
        family.name
        for family in known_families()
        if any("attn_output" in layout.taps.get("text", {}) for layout in family.block_lists)
    }
    written = passes.concept_masks.__globals__["__doc__"]
    for family in known_families():
        named = family.name.split(" ")[0]
        assert (named in written.split("In SANA")[0]) == (family.name in allowed), family.name


@pytest.mark.parametrize(
    ("concepts", "words"),
    [
        (CONCEPTS.astype(int), "int64"),
        (CONCEPTS.isel(concept=[0]), "1 concepts of 2"),
        (CONCEPTS & False, "without a token"),
        (CONCEPTS.isel(sample=[0]), "of 1 samples"),
        (CONCEPTS.pad(token=(5, 0), constant_values=False), "beyond the 7"),
    ],
)
def test_concepts_that_do_not_fit(outputs, concepts, words) -> None:
    image, text = outputs
    with pytest.raises(InputError, match=words):
        passes.concept_masks(BothStreams(image=image, text=text), concepts)


def test_a_recording_without_text_is_refused_by_name(outputs) -> None:
    with pytest.raises(InputError, match="attn_output of the text stream.*cross-attention"):
        passes.concept_masks(BothStreams(image=outputs[0]), CONCEPTS)
    with pytest.raises(InputError, match="threshold"):
        passes.concept_masks(BothStreams(image=outputs[0], text=outputs[1]), CONCEPTS, threshold="most")
