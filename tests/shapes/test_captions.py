"""The words of the shapes world: captions made and read back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditscope.shapes import Attributes, ObjectWords, parse_caption
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, words

OBJECTS = st.builds(
    ObjectWords,
    size=st.sampled_from(SIZES),
    colour=st.sampled_from(list(COLOURS)),
    shape=st.sampled_from(SHAPES),
    place=st.sampled_from(list(PLACES)),
)
ATTRIBUTES = st.builds(
    Attributes,
    objects=st.lists(OBJECTS, min_size=1, max_size=2).map(tuple),
    background=st.sampled_from(list(COLOURS)),
    texture=st.sampled_from(TEXTURES),
)


@given(ATTRIBUTES)
def test_a_caption_reads_back_into_its_attributes(attributes) -> None:
    assert parse_caption(attributes.caption) == attributes


@given(ATTRIBUTES)
def test_every_word_of_a_caption_is_in_the_vocabulary(attributes) -> None:
    assert set(attributes.caption.split()) <= set(words())


def test_captions_are_plain_english() -> None:
    first = ObjectWords("small", "red", "circle", "left")
    second = ObjectWords("small", "white", "star", "centre")
    assert Attributes((first, second), "blue", "striped").caption == (
        "a small red circle at the left and a small white star in the centre on a striped blue background"
    )


def test_words_are_distinct_in_every_role_but_colour() -> None:
    roles = [tuple(COLOURS), SHAPES, SIZES, tuple(PLACES), TEXTURES]
    for one, other in itertools.combinations(roles, 2):
        assert not set(one) & set(other)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a dog",
        "a small red circle at the left",
        "on a plain blue background",
        "a small red circle on a plain blue background",
    ],
)
def test_a_caption_of_another_world_is_refused(caption) -> None:
    with pytest.raises(ValueError, match="expected one of the shapes world"):
        parse_caption(caption)
