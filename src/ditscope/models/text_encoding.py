"""What a run's text encoders are given of each prompt, and what is cut off before it reaches them.

No limit is derived here: the pipeline's own tokenizers are watched while it runs, with the texts that its templates
make and the arguments that it passes, and each text is encoded once more without truncation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from ditscope.encoded_text import EncodedText

_WHOLE = {"truncation": False, "padding": False, "max_length": None, "return_tensors": None, "verbose": False}
"""Arguments with which a tokenizer gives all of a text's tokens, and no padding."""


@dataclass(frozen=True)
class Tokenized:
    """What a tokenizer made of one text.

    Attributes:
        left: ids of the tokens that are left, without padding.
        cut: number of tokens that are cut.
        padded: ids as the encoder is passed them.
    """

    left: list[int]
    cut: int
    padded: list[int]


@dataclass(frozen=True)
class Watched:
    """What one tokenizer made of each text that it was given, in order."""

    tokenizer: PreTrainedTokenizerBase
    shortening: list[Tokenized] = field(default_factory=list)
    plain: list[Tokenized] = field(default_factory=list)

    @property
    def texts(self) -> list[Tokenized]:
        """Those of calls that may cut: pipelines also ask for all tokens, to say what was cut."""
        return self.shortening or self.plain


@contextmanager
def watched_tokenizers(pipeline: Any) -> Iterator[dict[str, Watched]]:
    """While tokenizers of a pipeline's text encoders are watched: text encoder -> what its tokenizer was given."""
    seen: dict[str, Watched] = {}
    watched: list[PreTrainedTokenizerBase] = []
    components = pipeline.components  # which diffusers makes each time that it is asked
    with ExitStack() as stack:
        for name, part in components.items():
            tokenizer = getattr(part, "tokenizer", part)  # of a processor
            encoder = name.replace("tokenizer", "text_encoder")
            if isinstance(tokenizer, PreTrainedTokenizerBase) and encoder in components:
                if any(tokenizer is other for other in watched):
                    continue  # which of two encoders a shared tokenizer is called for cannot be told
                watched.append(tokenizer)
                seen[encoder] = Watched(tokenizer)
                stack.enter_context(_watched(tokenizer, seen[encoder]))
        yield seen


@contextmanager
def _watched(tokenizer: PreTrainedTokenizerBase, seen: Watched) -> Iterator[None]:
    kind = type(tokenizer)

    def call(self: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not (
            isinstance(text, str) or (isinstance(text, list) and all(isinstance(one, str) for one in text))
        ):
            return kind.__call__(self, text, *args, **kwargs)
        shortens = kwargs.get("truncation") not in (None, False, "do_not_truncate")
        if seen.shortening and not shortens:  # asked for to say what was cut
            return kind.__call__(self, text, *args, **kwargs)
        whole = kind.__call__(self, text, *args, **{**kwargs, **_WHOLE})["input_ids"]
        encoded = kind.__call__(self, text, *args, **kwargs)
        given = encoded["input_ids"]
        if isinstance(text, str):
            whole, given = [whole], given if getattr(given, "ndim", 1) == 2 else [given]
        for ids, row in zip(whole, given, strict=True):
            cut = max(0, len(ids) - len(row))  # what is cut is not padded
            padded = [int(number) for number in row]
            (seen.shortening if shortens else seen.plain).append(
                Tokenized(padded if cut else ids, cut, padded)
            )
        return encoded

    # Python looks a call up on the class, and pipelines ask for the class: so a subclass of the same name.
    tokenizer.__class__ = type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})
    try:
        yield
    finally:
        tokenizer.__class__ = kind


def encoded_texts(
    seen: Mapping[str, Watched], n_prompts: int, lengths: list[int] | None = None, prefix: int = 0
) -> list[EncodedText | None]:
    """What the encoders were given of each prompt of a batch; None where they were not called for it.

    Args:
        seen: from :func:`watched_tokenizers`.
        n_prompts: number of prompts. Pipelines encode them before their negative prompts.
        lengths: number of each prompt's tokens that the transformer was passed, where the pipeline cuts the encoded
            text too; None where it does not.
        prefix: number of a template's tokens that such a pipeline takes off the front.
    """
    known = {encoder: watched.texts for encoder, watched in seen.items() if len(watched.texts) >= n_prompts}
    if not known:
        return [None] * n_prompts
    result: list[EncodedText | None] = []
    for row in range(n_prompts):
        digest, cut = hashlib.sha256(), {}
        for encoder, texts in known.items():
            ids, cut[encoder] = texts[row].left, texts[row].cut
            if lengths is not None:
                behind = max(0, len(ids) - prefix - lengths[row])
                ids, cut[encoder] = ids[: len(ids) - behind], cut[encoder] + behind
            digest.update(repr((encoder, ids)).encode())
        result.append(EncodedText(cut, digest.hexdigest()[:16]))
    return result
