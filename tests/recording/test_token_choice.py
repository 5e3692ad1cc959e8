"""Which tokens are kept; recordings with chosen tokens are in ``test_record``."""

from __future__ import annotations

import numpy as np
import pytest

from ditscope.errors import InputError
from ditscope.recording.token_choice import TokenChoice, drawn_tokens, token_choice

IMAGE = ("image", "text")


def test_numbers_ids_and_masks_are_told_apart() -> None:
    assert token_choice(3, IMAGE) == token_choice(np.int64(3), IMAGE) == TokenChoice(drawn=3)
    assert token_choice([5, 1, 5], IMAGE) == TokenChoice((1, 5))
    assert token_choice(np.array([5, 1]), IMAGE) == TokenChoice((1, 5))
    assert token_choice(range(2), IMAGE) == TokenChoice((0, 1))
    mask = np.array([[False, True, False], [True, False, True]])
    assert token_choice(mask, IMAGE) == token_choice(mask.tolist(), IMAGE) == TokenChoice((1, 3, 5), (2, 3))
    assert TokenChoice((1, 3, 5), (2, 3)).fields((2, 3)) == {"token_ids": (1, 3, 5), "random_tokens": None}
    assert TokenChoice(drawn=6).fields((2, 3)) == {"token_ids": None, "random_tokens": 6}


@pytest.mark.parametrize(
    "tokens",
    [
        0,
        -1,
        True,
        1.5,
        "3",
        [],
        [-1],
        [0.5],
        [True, False],
        np.zeros((2, 3), bool),
        np.zeros((2, 3)),
        [[0, 1]],
    ],
)
def test_what_is_no_choice_is_refused(tokens) -> None:
    with pytest.raises(InputError, match="token"):
        token_choice(tokens, IMAGE)


def test_a_choice_that_the_image_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="image stream"):
        token_choice(3, ("text",))
    for choice in (token_choice([6], IMAGE), token_choice(7, IMAGE)):
        with pytest.raises(InputError, match=r"token 6; expected 0 to 5"):
            choice.fields((2, 3))
    # As many tokens, of another shape.
    with pytest.raises(InputError, match=r"a mask of \(2, 3\) tokens; expected one of \(3, 2\)"):
        token_choice(np.ones((2, 3), bool), IMAGE).fields((3, 2))


def test_draws_are_uniform_without_repetition_and_a_samples_own() -> None:
    drawn = np.stack([drawn_tokens(12, 5, 0, f"sample {at}") for at in range(2000)])
    assert drawn.dtype == np.int32
    assert (np.diff(drawn) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=12)
    # 2000 draws of 5 of 12: 833 each, with a standard deviation of 22.
    assert np.abs(counts - 833).max() < 5 * 22
    assert np.array_equal(drawn[7], drawn_tokens(12, 5, 0, "sample 7"))
    assert not np.array_equal(drawn[7], drawn_tokens(12, 5, 1, "sample 7"))
    assert drawn_tokens(12, 12, 3, "a\ud800").tolist() == list(range(12))
