from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError


def test_it_is_the_clip_score_to_the_given_text(scorer, images, prompts):
    one = metrics.clip_to(prompts[1], name="clip_to_source")
    np.testing.assert_array_equal(
        one(images, scorer=scorer, prompts=["another"] * 3),
        metrics.clip_score(images, prompts[1:2] * 3, scorer),
    )
    each = metrics.clip_to(prompts)
    np.testing.assert_array_equal(each(images, scorer=scorer), metrics.clip_score(images, prompts, scorer))
    assert not one.paired
    assert one.needs == ("scorer", "positions")
    np.testing.assert_array_equal(
        each(images[1:], scorer=scorer, positions=[1, 2]), metrics.clip_score(images[1:], prompts[1:], scorer)
    )
    assert one.made_of != each.made_of
    assert one.name == "clip_to_source"
    assert repr(prompts[1]) in one.label


def test_other_numbers_of_texts_and_no_text_are_refused(scorer, images, prompts):
    with pytest.raises(InputError, match="2 texts for 3 images"):
        metrics.clip_to(prompts[:2])(images, scorer=scorer)
    with pytest.raises(InputError, match="3 texts for 2 images"):
        metrics.clip_to(prompts).open(["a red circle", "a white star"])  # before a comparison
    with pytest.raises(InputError, match="prompts"):
        metrics.clip_to("")
