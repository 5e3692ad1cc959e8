"""Guidance that short runs of the embedded sizes' FLUX.1 show; every family's is in ``tests/families``."""

from __future__ import annotations

import pytest

import bare_pipeline
from ditscope.checking.explore_guidance import OTHER_PROMPT, guidance_of
from ditscope.models.family import Guidance

SIZE = bare_pipeline.SIZE


@pytest.fixture(scope="module")
def pipeline(untrained_folder):
    return bare_pipeline.opened(untrained_folder)


def test_a_true_scale_with_a_negative_prompt_is_seen_in_a_few_short_runs(pipeline) -> None:
    visits = []
    counting = pipeline.transformer.register_forward_pre_hook(lambda *_: visits.append(1))
    try:
        found = guidance_of(pipeline, "a red circle", **SIZE)
    finally:
        counting.remove()
    assert found == Guidance(("cond", "uncond"), "true_cfg_scale", (("negative_prompt",),))
    # One step each: without the scale, with it, with another prompt, and with the scale but no negative prompt.
    assert len(visits) == 1 + 2 + 2 + 1
    assert not pipeline.transformer._forward_pre_hooks


def test_nothing_is_said_where_rows_are_more_than_branches(pipeline) -> None:
    assert guidance_of(pipeline, "a red circle", num_images_per_prompt=2, **SIZE) is None


def test_nothing_is_said_where_no_other_prompt_tells_the_branches_apart(pipeline) -> None:
    assert guidance_of(pipeline, OTHER_PROMPT, **SIZE) is None
