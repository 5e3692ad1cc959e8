"""A prompt as embeddings: what it holds, where it stands, and what does not fit."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch

import ditscope as ds
from ditscope.errors import InputError
from ditscope.tracing.prompt_embeds import PromptEmbeds, prompts_of, refuse_unfit, stacked

EMBEDS, POOLED = torch.ones(1, 5, 8), torch.ones(1, 4)


def embedded(label: str = "between", **more) -> PromptEmbeds:
    return PromptEmbeds(label, **{"prompt_embeds": EMBEDS, "pooled_prompt_embeds": POOLED, **more})


def test_it_is_called_by_its_label_and_stays_as_it_is() -> None:
    prompt = ds.PromptEmbeds("between", prompt_embeds=EMBEDS)
    assert str(prompt) == prompt.label == "between"
    assert repr(prompt) == "PromptEmbeds('between', prompt_embeds [1, 5, 8])"
    with pytest.raises(dataclasses.FrozenInstanceError):
        prompt.label = "x"
    for copied in (pickle.loads(pickle.dumps(prompt)), copy.deepcopy(prompt)):
        assert copied.label == "between"
        assert torch.equal(copied.tensors["prompt_embeds"], EMBEDS)


@pytest.mark.parametrize(
    ("label", "tensors", "words"),
    [
        (" ", {"prompt_embeds": EMBEDS}, "prompts .' '."),
        (3, {"prompt_embeds": EMBEDS}, "prompts .3."),
        (["a"], {"prompt_embeds": EMBEDS}, "prompts ..'a'.."),
        ("a", {}, "embeddings without names"),
        ("a", {"pooled_prompt_embeds": POOLED}, "embeddings pooled_prompt_embeds"),
        ("a", {"prompt_embeds": EMBEDS, "latents": EMBEDS}, "found embeddings latents"),
        ("a", {"prompt_embeds": torch.ones(2, 5, 8)}, r"prompt_embeds of shape \[2, 5, 8\]"),
        ("a", {"prompt_embeds": torch.ones(5)}, r"prompt_embeds of shape \[5\]"),
        ("a", {"prompt_embeds": EMBEDS.numpy()}, "as a ndarray"),
    ],
)
def test_what_is_no_prompt_is_refused(label, tensors, words) -> None:
    with pytest.raises(InputError, match=words):
        PromptEmbeds(label, **tensors)


def test_prompts_are_texts_or_embeddings() -> None:
    one, other = embedded("a"), embedded("b")
    assert prompts_of("x") == ["x"]
    assert prompts_of(one) == [one]
    assert prompts_of((one, other)) == [one, other]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([embedded(), "a text"], "1 of 2 prompts as embeddings"),
        ([embedded("a"), embedded("b"), embedded("a")], "the label 'a' twice"),
        ([embedded("a"), PromptEmbeds("b", prompt_embeds=EMBEDS)], "prompt_embeds of 'b'; expected pooled_"),
        ([], "no prompts"),
    ],
)
def test_prompts_that_do_not_go_together_are_refused(prompts, words) -> None:
    with pytest.raises(InputError, match=words):
        prompts_of(prompts)


def test_a_batch_has_the_texts_or_a_row_of_each_embedding() -> None:
    assert stacked(["a", "b"]) == {"prompt": ["a", "b"]}
    rows = stacked([embedded("a"), embedded("b", prompt_embeds=EMBEDS * 2)])
    assert rows["prompt_embeds"][:, 0, 0].tolist() == [1, 2]
    assert rows["pooled_prompt_embeds"].shape == (2, 4)
    assert set(rows) == {"prompt_embeds", "pooled_prompt_embeds"}


def test_text_is_as_long_as_the_longer_of_both_signs() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    prompt = embedded(prompt_embeds_mask=mask, negative_prompt_embeds=torch.ones(1, 4, 8))
    assert (prompt.text_tokens(padded=True), prompt.text_tokens(padded=False)) == (5, 4)
    assert embedded(prompt_attention_mask=mask).text_tokens(padded=False) == 3


@pytest.mark.parametrize(
    ("more", "call", "words"),
    [
        (
            {"prompt_embeds_mask": POOLED},
            {},
            "prompt_embeds_mask of 'between'; expected any of .*pooled_prompt",
        ),
        ({}, {"prompt_2": "a"}, "prompt_2 beside PromptEmbeds"),
        ({"negative_prompt_embeds": EMBEDS}, {"negative_prompt": "a"}, "negative_prompt beside PromptEmbeds"),
    ],
)
def test_embeddings_that_the_call_does_not_take_are_refused(dit, more, call, words) -> None:
    with pytest.raises(InputError, match=words):
        refuse_unfit(dit, embedded(**more), call)
    refuse_unfit(dit, embedded(), {"negative_prompt": "a", "prompt_2": None})
    refuse_unfit(dit, "a text", call)
