"""What tokenizers are given and what they cut, on the tokenizers of the embedded pipeline."""

from __future__ import annotations

import pytest
import torch

from ditscope.models.text_encoding import encoded_texts, watched_tokenizers

LONG, SHORT = "a small red circle " * 9, "a large white star"
PADDED = {"padding": "max_length", "max_length": 8, "return_tensors": "pt"}


@pytest.fixture
def pipeline(dit):
    return dit.diffusers_pipeline


def call(tokenizer, texts, **more):
    return tokenizer(texts, truncation=True, **PADDED, **more).input_ids


def n_tokens(tokenizer, text: str) -> int:
    return len(tokenizer(text)["input_ids"])


def test_prompts_come_before_negative_prompts_in_one_call_or_in_several(pipeline):
    with watched_tokenizers(pipeline) as seen:
        call(pipeline.tokenizer, [LONG, SHORT])
        call(pipeline.tokenizer, ["plain", LONG])
        for text in (SHORT, LONG, LONG):
            call(pipeline.tokenizer_2, text)
    first, second = encoded_texts(seen, 2)
    cut = [n_tokens(tokenizer, LONG) - 8 for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]
    assert first.cut == {"text_encoder": cut[0], "text_encoder_2": 0}
    assert second.cut == {"text_encoder": 0, "text_encoder_2": cut[1]}
    assert first.digest != second.digest


def test_calls_that_ask_for_all_tokens_are_not_taken_for_the_encoder_s(pipeline):
    with watched_tokenizers(pipeline) as seen:
        pipeline.tokenizer([LONG], padding="longest")
        call(pipeline.tokenizer, [LONG])
    (text,) = encoded_texts(seen, 1)
    assert text.cut == {"text_encoder": n_tokens(pipeline.tokenizer, LONG) - 8}


def test_the_digest_is_of_what_is_left(pipeline):
    def digest(*texts, **more) -> list[str]:
        with watched_tokenizers(pipeline) as seen:
            call(pipeline.tokenizer, list(texts), **more)
        return [text.digest for text in encoded_texts(seen, len(texts))]

    cut, same, other, short = digest(
        LONG, f"{LONG} on a plain blue background", "a small blue circle " * 9, SHORT
    )
    assert cut == same != other
    # Padding is none of the text.
    with watched_tokenizers(pipeline) as seen:
        pipeline.tokenizer([SHORT], truncation=True, max_length=20, padding="max_length")
    assert encoded_texts(seen, 1)[0].digest == short


def test_what_the_pipeline_cuts_behind_the_encoder_counts_too(pipeline):
    with watched_tokenizers(pipeline) as seen:
        ids = call(pipeline.tokenizer, [LONG, SHORT])
    kept = [ids.shape[1], n_tokens(pipeline.tokenizer, SHORT)]
    by_tokenizer, _ = encoded_texts(seen, 2)
    # A template's first 2 tokens are taken off, and of the rest all but 3 of the long prompt are kept.
    long, short = encoded_texts(seen, 2, lengths=[kept[0] - 2 - 3, kept[1] - 2], prefix=2)
    assert long.cut["text_encoder"] == by_tokenizer.cut["text_encoder"] + 3
    assert short.cut["text_encoder"] == 0
    assert long.digest != by_tokenizer.digest


def test_prompts_that_no_tokenizer_was_given_are_not_known(pipeline):
    with watched_tokenizers(pipeline) as seen:
        pass
    assert encoded_texts(seen, 2) == [None, None]


def test_tokenizers_are_what_they_were(pipeline):
    tokenizer = pipeline.tokenizer
    kind, expected = type(tokenizer), call(tokenizer, [LONG, SHORT])
    with pytest.raises(KeyError), watched_tokenizers(pipeline):
        assert isinstance(tokenizer, kind)
        assert type(tokenizer).__name__ == kind.__name__
        assert torch.equal(call(tokenizer, [LONG, SHORT]), expected)
        assert tokenizer([["a", "red", "circle"]], is_split_into_words=True)["input_ids"]
        raise KeyError
    assert type(tokenizer) is kind
