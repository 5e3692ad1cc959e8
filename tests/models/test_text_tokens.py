"""Which token stands where in the text, where the numbers of tokens say it; ``tests/families`` has every family."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ditscope.models.families import AURAFLOW, COGVIEW4, FLUX, LUMINA2, QWEN_IMAGE, SD3
from ditscope.models.text_encoding import watched_tokenizers
from ditscope.models.text_tokens import TextsPassed

TEXTS = ["a large white star", "a small red circle"]
FIRST, SECOND = (tuple((word, 1) for word in text.split()) for text in TEXTS)


@pytest.fixture
def tokenizers(dit):
    pipeline = dit.diffusers_pipeline
    return pipeline.tokenizer, pipeline.tokenizer_2, pipeline


def seen_of(tokenizers, *texts, length: int = 8, encoder: int = 1) -> dict:
    """What is seen of one tokenizer, under the name of its encoder."""
    with watched_tokenizers(tokenizers[2]) as seen:
        for text in texts:
            tokenizers[encoder](text, padding="max_length", max_length=length, truncation=True)
    name = ("text_encoder", "text_encoder_2")[encoder]
    return {name: seen[name]}


def words(runs) -> list[str]:
    return [token for token, count in runs for _ in range(count)]


def test_a_padded_text_is_named_to_its_end(tokenizers) -> None:
    passed = TextsPassed([(8, None)], ("cond",), 2)
    for prompt, text in enumerate(TEXTS):
        (branch,) = passed.tokens(FLUX, seen_of(tokenizers, TEXTS), prompt).items()
        ids = tokenizers[1](text, padding="max_length", max_length=8)["input_ids"]
        assert branch[0] == "cond"
        assert words(branch[1]) == tokenizers[1].convert_ids_to_tokens(ids)
        assert branch[1][-1] == (tokenizers[1].pad_token, 8 - len(tokenizers[1](text)["input_ids"]))


@pytest.mark.parametrize("given", [[TEXTS, ["plain", "plain"]], [TEXTS, "plain"]])
def test_what_stands_in_the_prompt_s_place_is_encoded_behind_it(tokenizers, given) -> None:
    seen = seen_of(tokenizers, *given)
    plain = tokenizers[1].convert_ids_to_tokens(tokenizers[1]("plain")["input_ids"])
    one_by_one = TextsPassed([(8, None)] * 2, ("cond", "uncond"), 2)
    doubled = TextsPassed([(8, None)], ("uncond", "cond"), 2)
    family = dataclasses.replace(AURAFLOW, text_encoders=FLUX.text_encoders)
    for prompt, text in enumerate(TEXTS):
        for found in (one_by_one.tokens(FLUX, seen, prompt), doubled.tokens(family, seen, prompt)):
            assert words(found["uncond"])[: len(plain)] == plain
            own = tokenizers[1].convert_ids_to_tokens(tokenizers[1](text)["input_ids"])
            assert words(found["cond"])[: len(own)] == own


def test_two_texts_stand_one_behind_the_other(tokenizers) -> None:
    seen = seen_of(tokenizers, TEXTS, encoder=0, length=6) | seen_of(tokenizers, TEXTS)
    family = dataclasses.replace(SD3, text_encoders=("text_encoder", "text_encoder_2"))
    (names,) = TextsPassed([(14, None)], ("cond",), 2).tokens(family, seen, 1).values()
    alone = [
        tokenizer.convert_ids_to_tokens(
            tokenizer(TEXTS[1], padding="max_length", max_length=length, truncation=True)["input_ids"]
        )
        for tokenizer, length in zip(tokenizers, (6, 8), strict=False)
    ]
    assert words(names) == alone[0] + alone[1]
    assert not TextsPassed([(15, None)], ("cond",), 2).tokens(family, seen, 1)


def test_what_a_pipeline_fills_up_with_comes_before_the_text(tokenizers) -> None:
    seen = seen_of(tokenizers, TEXTS, encoder=0)
    (names,) = TextsPassed([(11, None)], ("cond",), 2).tokens(COGVIEW4, seen, 0).values()
    assert words(names)[:3] == [tokenizers[0].pad_token] * 3


def test_a_template_is_off_the_front_and_what_is_masked_has_no_name(tokenizers) -> None:
    seen, ids = seen_of(tokenizers, TEXTS, encoder=0), tokenizers[0](TEXTS[1])["input_ids"]
    own = tokenizers[0].convert_ids_to_tokens(ids)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[1, : len(own) - 2] = True
    (names,) = TextsPassed([(6, mask)], ("cond",), 2).tokens(QWEN_IMAGE, seen, 1, prefix=2).values()
    assert words(names) == own[2:] + [""] * (6 - len(own) + 2)
    (names,) = TextsPassed([(6, mask)], ("cond",), 2).tokens(LUMINA2, seen, 1).values()
    assert words(names)[: len(own) - 2] == own[:-2]


def test_a_processor_s_own_tokenizer_is_the_encoder_s(tokenizers) -> None:
    """Qwen-Image-Edit has a tokenizer beside it, which it is not asked for."""
    named, unused = seen_of(tokenizers, TEXTS, encoder=0), seen_of(tokenizers, encoder=0)
    passed, length = TextsPassed([(3, None)], ("cond",), 2), {"prefix": 1}
    expected = passed.tokens(QWEN_IMAGE, named, 0, **length)
    assert expected
    seen = unused | {"processor": named["text_encoder"]}
    assert passed.tokens(QWEN_IMAGE, seen, 0, **length) == expected


@pytest.mark.parametrize(
    ("visits", "given"),
    [
        ([(7, None)], [TEXTS]),
        ([(8, None)], [TEXTS, TEXTS, TEXTS]),
        ([], [TEXTS]),
        ([(8, torch.tensor([[0, 1] * 4] * 2))], [TEXTS]),
        ([(8, None)], []),
    ],
    ids=["another length", "other texts", "no visit", "a mask with holes", "no text"],
)
def test_nothing_is_said_where_the_numbers_do_not_fit(tokenizers, visits, given) -> None:
    seen = seen_of(tokenizers, *given)
    assert TextsPassed(visits, ("cond",), 2).tokens(FLUX, seen, 0) == {}
