"""The module through which a pipeline is called, and what is left of it once the pipeline is given back."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
from ditscope.errors import UnsupportedError
from ditscope.models.pipeline import CallablePipeline, ClosedPipeline
from ditscope.models.run_state import RunState

PROMPT = "a red circle"
CALL = {"num_inference_steps": 1, "output_type": "np", **bare_pipeline.PLAIN}


def test_a_call_is_a_run_of_the_pipeline_with_its_networks_as_children(untrained_folder, dit) -> None:
    pipeline = bare_pipeline.opened(untrained_folder)
    run = RunState(dit.family, {"height": 16, "num_inference_steps": 9})
    run.open(pipeline)
    module = CallablePipeline(run)
    assert dict(module.named_children())["transformer"] is pipeline.transformer
    images = module(PROMPT, seed=4, **CALL).images
    plain = bare_pipeline.generate(pipeline, [PROMPT], [4], num_inference_steps=1, **bare_pipeline.PLAIN)
    assert np.array_equal(np.round(images * 255).astype(np.uint8), plain.images)
    assert run.samples == [(PROMPT, 4)]
    assert run.n_visits == run.call["num_inference_steps"] == 1
    assert run.call["height"] == bare_pipeline.PLAIN["height"]


def test_a_closed_pipeline_refuses_to_be_called(dit) -> None:
    module = ClosedPipeline(RunState(dit.family, {}))
    assert not list(module.children())
    with pytest.raises(UnsupportedError, match=r"a model that was closed.*ds\.load\(pipe\)"):
        module(PROMPT, seed=0, **CALL)
