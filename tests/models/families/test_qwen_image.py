"""Qwen-Image against diffusers' own class and a plain run of the tiny pipeline."""

from __future__ import annotations

import pytest
import tiny

from ditscope.models.families.qwen_image import QWEN_IMAGE

NEGATIVE = {"negative_prompt": "plain"}


def test_what_it_names_is_in_the_published_transformer(assert_published) -> None:
    blocks = {"double": (60, "QwenImageTransformerBlock")}
    assert_published(QWEN_IMAGE, "Qwen-Image", blocks, width=3072)


def test_streams_are_returned_text_first(assert_streams) -> None:
    assert_streams(QWEN_IMAGE, "qwen-image", image="img_in", text="txt_in")


def test_the_text_is_as_long_as_the_prompt(plain_run) -> None:
    lengths = [
        plain_run("qwen-image", prompt).given[0]["encoder_hidden_states"].shape[1] for prompt in tiny.PROMPTS
    ]
    words = [len(prompt.split()) for prompt in tiny.PROMPTS]
    assert lengths[0] - lengths[1] == words[0] - words[1] > 0
    assert QWEN_IMAGE.text_length_varies


@pytest.mark.parametrize(
    ("call", "branches"),
    [
        (NEGATIVE, ("cond", "uncond")),  # the pipeline's own scale is 4
        ({"negative_prompt": None}, ("cond",)),
        ({"true_cfg_scale": 1.0, **NEGATIVE}, ("cond",)),
        ({"guidance_scale": 4.0, "true_cfg_scale": 1.0, **NEGATIVE}, ("cond",)),
    ],
)
def test_a_true_scale_with_a_negative_prompt_makes_a_second_visit(assert_guidance, call, branches) -> None:
    assert_guidance(QWEN_IMAGE, "qwen-image", call, branches)


def test_the_timestep_is_a_thousandth_of_the_schedulers(assert_timesteps) -> None:
    assert_timesteps(QWEN_IMAGE, "qwen-image", lambda timestep: timestep / 1000)
