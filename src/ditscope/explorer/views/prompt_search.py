"""The prompts in which some words stand."""

from __future__ import annotations

import numpy as np

from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Comparison
from ditscope.explorer.view import view

__all__ = ["prompt_search"]

LISTED = 30
"""Prompts of an answer: a browser's list shows no more at once."""


@view
def prompt_search(store: Cache | Comparison, words: str) -> Payload:
    """Prompts that have all the words, in any order and case: how many, and the first of them.

    ``prompts`` are their texts, in the order of the store, and ``sample`` is the first sample of each.
    """
    if isinstance(store, Cache):
        samples = {store.specs[sample].prompt: sample for sample in reversed(store.committed)}
    else:
        texts = [str(prompt) for prompt in store.result["prompt"].values]
        samples = {texts[sample]: sample for sample in reversed(range(len(texts)))}
    parts = words.casefold().split()
    found = {
        sample: prompt
        for prompt, sample in samples.items()
        if parts and all(part in prompt.casefold() for part in parts)
    }
    listed = sorted(found)[:LISTED]
    return Payload(
        {"found": len(found), "prompts": [found[sample] for sample in listed]},
        {"sample": np.asarray(listed, np.int32)},
    )
