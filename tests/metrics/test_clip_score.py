from __future__ import annotations

import numpy as np
import pytest

from ditscope import metrics
from ditscope.errors import InputError


def test_both_conventions(scorer, images, prompts):
    cosine = (scorer.image_features(images) * scorer.text_features(prompts)).sum(1)
    np.testing.assert_allclose(metrics.clip_score(images, prompts, scorer), 100 * cosine, rtol=1e-5)
    expected = 2.5 * np.maximum(cosine, 0)
    np.testing.assert_allclose(metrics.clip_score_hessel(images, prompts, scorer), expected, rtol=1e-5)
    with pytest.raises(InputError, match="'hessel'"):
        scorer.score(images, prompts, convention="clip")


@pytest.mark.parametrize("wrong", [[], [1, 2, 3], ["one"], ["", "a", "b"]])
def test_bad_prompts(scorer, images, wrong):
    with pytest.raises(InputError):
        metrics.clip_score(images, wrong, scorer)
