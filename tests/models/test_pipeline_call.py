"""What a call leaves out is filled in, and which samples it makes."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import FluxControlPipeline, FluxPipeline, PixArtSigmaPipeline, SanaPipeline

from ditscope.models.pipeline_call import (
    call_defaults,
    complete_call,
    samples_of,
    signature_defaults,
    step_callback,
)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def drawn(seed: int) -> torch.Generator:
    """A generator that has made noise before, so that it makes other noise than its seed says."""
    (generator,) = seeded(seed)
    torch.randn(1, generator=generator)
    return generator


@pytest.mark.parametrize(
    ("call", "samples"),
    [
        ({"prompt": "a", "generator": seeded(3)[0]}, [("a", 3)]),
        ({"prompt": ["a", "b"], "generator": seeded(3, 1)}, [("a", 3), ("b", 1)]),
        ({"prompt": ["a", "b"], "generator": seeded(5)[0]}, [("a", 5), ("b", 5)]),
        ({"prompt": ("a", "b")}, [("a", None), ("b", None)]),
        (
            {"prompt": ["a", "b"], "num_images_per_prompt": 2, "generator": seeded(1, 2, 3, 4)},
            [("a", 1), ("a", 2), ("b", 3), ("b", 4)],
        ),
        ({"prompt_embeds": torch.zeros(2, 5, 8), "generator": seeded(1, 2)}, [(None, 1), (None, 2)]),
        ({"prompt": None, "num_images_per_prompt": None}, [(None, None)]),
        ({"prompt": ["a", "b"], "generator": [drawn(3), seeded(3)[0]]}, [("a", None), ("b", 3)]),
    ],
)
def test_the_samples_of_a_call_are_prompts_and_seeds_by_row(call, samples) -> None:
    assert samples_of(call) == samples


def test_a_seed_makes_a_generator_for_each_image_unless_there_are_some(dit) -> None:
    pipeline = dit.diffusers_pipeline
    assert complete_call(pipeline, {"prompt": "a"}, {}, seed=4)["generator"].initial_seed() == 4
    several = complete_call(pipeline, {"prompt": ["a", "b"], "num_images_per_prompt": 2}, {}, seed=4)
    assert [generator.initial_seed() for generator in several["generator"]] == [4, 5, 6, 7]
    own = seeded(9)[0]
    assert complete_call(pipeline, {"prompt": "a", "generator": own}, {}, seed=4)["generator"] is own
    assert "generator" not in complete_call(pipeline, {"prompt": "a"}, {})


def test_a_call_is_completed_by_the_defaults_and_a_negative_prompt_for_each_prompt(dit) -> None:
    complete = complete_call(
        dit.diffusers_pipeline, {"prompt": ["a", "b"], "height": 32}, {"height": 64, "negative_prompt": "no"}
    )
    assert complete == {"prompt": ["a", "b"], "height": 32, "negative_prompt": ["no", "no"]}
    embedded = {"prompt_embeds": torch.zeros(2, 5, 8), "negative_prompt": "no"}
    assert complete_call(dit.diffusers_pipeline, embedded, {})["negative_prompt"] == ["no", "no"]
    kwargs = {"scale": 0.5}
    own = complete_call(dit.diffusers_pipeline, {"prompt": "a"}, {"joint_attention_kwargs": kwargs})
    assert own["joint_attention_kwargs"] == kwargs
    assert own["joint_attention_kwargs"] is not kwargs
    alone = {"prompt": "a", "negative_prompt": "no"}
    assert complete_call(dit.diffusers_pipeline, alone, {}) == alone


def test_step_callbacks_and_defaults_are_those_of_the_pipelines_call(dit) -> None:
    assert step_callback(dit.diffusers_pipeline) == "callback_on_step_end"
    assert step_callback(object.__new__(PixArtSigmaPipeline)) == "callback"
    assert step_callback(object.__new__(SanaPipeline)) == "callback_on_step_end"
    assert signature_defaults(FluxPipeline)["guidance_scale"] == 3.5
    assert "self" not in signature_defaults(FluxPipeline)


def test_a_folder_s_arguments_are_those_that_the_called_class_takes(tmp_path) -> None:
    settings = {"height": 16, "true_cfg_scale": 2.0}
    (tmp_path / "ditscope.json").write_text(json.dumps({"call": settings}))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    assert call_defaults(str(tmp_path)) == settings
    assert call_defaults(str(tmp_path), FluxPipeline) == settings
    assert call_defaults(str(tmp_path), FluxControlPipeline) == {"height": 16}
    assert call_defaults(None) == {}


def test_defaults_that_are_set_on_a_call_are_found_anew() -> None:
    def called(self, steps=1, *, scale=2.0) -> None: ...

    kind = type("Calling", (), {"__call__": called})
    assert signature_defaults(kind) == {"steps": 1, "scale": 2.0}
    called.__kwdefaults__["scale"] = 4.0
    assert signature_defaults(kind) == {"steps": 1, "scale": 4.0}
    called.__defaults__ = (3,)
    assert signature_defaults(kind) == {"steps": 3, "scale": 4.0}
    kind.__call__ = lambda self, size=5: None
    assert signature_defaults(kind) == {"size": 5}
