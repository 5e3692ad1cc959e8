"""Prompt sets: seeded, and spread evenly over the words."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditscope.errors import InputError
from ditscope.shapes import parse_caption, prompts
from ditscope.shapes.captions import COLOURS, PLACES, SHAPES, SIZES, TEXTURES

KNOWN = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES, "place": tuple(PLACES)}


@pytest.mark.parametrize("count", [40, 48, 256])
@pytest.mark.parametrize("seed", [0, 3])
def test_every_word_comes_about_equally_often(count, seed) -> None:
    parsed = [parse_caption(caption) for caption in prompts(count, seed)]
    assert len(parsed) == count
    for name, values in KNOWN.items():
        counts = Counter(getattr(attributes.objects[0], name) for attributes in parsed)
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 1
    textures = Counter(attributes.texture for attributes in parsed)
    assert set(textures) == set(TEXTURES)
    assert max(textures.values()) - min(textures.values()) <= 1
    # Backgrounds that met their own object's colour were drawn anew.
    backgrounds = Counter(attributes.background for attributes in parsed)
    even = count / len(COLOURS)
    assert all(abs(backgrounds[colour] - even) <= max(3, 0.4 * even) for colour in COLOURS)
    assert all(attributes.objects[0].colour != attributes.background for attributes in parsed)


@pytest.mark.parametrize("count", [48, 240])
def test_two_objects_come_as_scenes_draw_them_and_every_word_about_equally_often(count) -> None:
    parsed = [parse_caption(caption) for caption in prompts(count, 2, objects=2)]
    for name in ("colour", "shape"):
        for number in (0, 1):
            counts = Counter(getattr(attributes.objects[number], name) for attributes in parsed)
            even = count / len(KNOWN[name])
            assert all(abs(counts[value] - even) <= max(5, 0.5 * even) for value in KNOWN[name])
    places = Counter(tuple(words.place for words in attributes.objects) for attributes in parsed)
    assert places == dict.fromkeys(
        [("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top")], count / 4
    )
    for attributes in parsed:
        assert len({attributes.background, *(words.colour for words in attributes.objects)}) == 3
        assert {words.size for words in attributes.objects} == {"small"}
    assert set(prompts(count, 2, objects=2)) != set(prompts(count, 3, objects=2))


def test_one_object_prompts_stay_what_they_were() -> None:
    assert prompts(2, 5) == [
        "a small black star at the bottom on a dotted cyan background",
        "a large green ring at the left on a striped yellow background",
    ]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(1, 2))
def test_fewer_growing_prompts_are_the_first_of_more(count, more, seed, objects) -> None:
    few, many = sorted((count, more))
    known = {"seed": seed, "objects": objects, "growing": True}
    assert prompts(many, **known)[:few] == prompts(few, **known)


@pytest.mark.parametrize("objects", [1, 2])
def test_words_of_growing_prompts_are_spread_evenly_over_every_beginning(objects) -> None:
    parsed = [parse_caption(caption) for caption in prompts(100, 3, objects=objects, growing=True)]
    for attributes in parsed:
        colours = {attributes.background, *(words.colour for words in attributes.objects)}
        assert len(colours) == objects + 1
    for count in range(1, 101):
        for name in ("colour", "shape", *("size", "place")[: 2 * (objects == 1)]):
            counts = Counter(getattr(attributes.objects[0], name) for attributes in parsed[:count])
            assert max(counts.values()) - min(counts[value] for value in KNOWN[name]) <= 1
    pairs = Counter((each.objects[0].colour, each.objects[0].place) for each in parsed)
    assert len(pairs) > len(COLOURS) * 3  # and not always the same together
    assert prompts(100, 3, objects=objects) != prompts(100, 3, objects=objects, growing=True)
    assert prompts(8, 3, objects=objects, growing=True) != prompts(8, 4, objects=objects, growing=True)


def test_words_are_drawn_independently_of_one_another() -> None:
    """Equal spacing without shuffling would tie every colour to one place."""
    parsed = [parse_caption(caption).objects[0] for caption in prompts(240, 1)]
    pairs = Counter((words.colour, words.place) for words in parsed)
    assert len(pairs) == len(COLOURS) * len(PLACES)


def test_the_seed_decides() -> None:
    assert prompts(20, 4) == prompts(20, 4)
    assert prompts(20, 4) != prompts(20, 5)
    assert prompts(20) == prompts(20, 0)


def test_few_prompts_do_not_always_leave_out_the_same_words() -> None:
    shapes = {parse_caption(caption).objects[0].shape for seed in range(40) for caption in prompts(2, seed)}
    assert shapes == set(SHAPES)


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_count_that_is_none_is_refused(count) -> None:
    with pytest.raises(InputError, match="count="):
        prompts(count)


@pytest.mark.parametrize("objects", [0, 3, True])
def test_a_number_of_objects_that_is_not_drawn_is_refused(objects) -> None:
    with pytest.raises(InputError, match="objects="):
        prompts(2, objects=objects)
