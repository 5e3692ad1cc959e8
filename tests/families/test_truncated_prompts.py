"""Prompts that are cut: how many tokens of which encoder, against the text that the bare pipeline passes on."""

from __future__ import annotations

import plain_hooks
import pytest
import tiny
import torch
from family_calls import NAMES, call

import ditscope as ds
from ditscope.tracing.run import run_traced

WORDS = ("a small red circle at the left on the plain blue white star " * 12).split()
LIMITED = {"cogview4": 16, "qwen-image": 40}
"""Limits of the pipelines whose own are far away."""

TEMPLATE_END = {"qwen-image": "<|im_end|>\n<|im_start|>assistant\n"}
"""What a template puts behind the prompt: it is cut before the prompt is."""


class Passed(Exception):
    """The text has come to the transformer."""


def prompt(n_words: int) -> str:
    return " ".join(WORDS[:n_words])


def given(name: str) -> dict[str, object]:
    limit = {"max_sequence_length": LIMITED[name]} if name in LIMITED else {}
    return {**call(name), "num_inference_steps": 1, **limit}


def plain_text(pipeline, name: str, n_words: int) -> list[torch.Tensor]:
    """What the bare pipeline hands its transformer of the first words: the embedding, pooled too."""
    passed = []

    def hook(_, args, kwargs) -> None:
        text = ("encoder_hidden_states", "pooled_projections")
        passed.extend(kwargs[key] for key in text if key in kwargs)
        raise Passed

    handle = pipeline.transformer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with pytest.raises(Passed):
            pipeline(prompt=prompt(n_words), **{**tiny.TINY[name].call, **given(name)})
    finally:
        handle.remove()
    return passed


def differ(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return any(a.shape != b.shape or (a - b).abs().max() > 1e-4 for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_is_what_the_transformer_never_sees(opened, folder_of, name) -> None:
    dit, pipeline = opened(name), plain_hooks.opened(folder_of(name))

    def encoded(n_words: int):
        run_traced(dit, [(prompt(n_words), 0)], **given(name))
        (text,) = dit.run_state.texts
        return text

    tokenizer = pipeline.tokenizer
    n_behind = len(tokenizer(TEMPLATE_END.get(name, ""), add_special_tokens=False)["input_ids"])
    n_behind += name in TEMPLATE_END  # the tokenizer's own end mark
    long, short = encoded(len(WORDS)), encoded(3)
    assert long.truncated
    assert not short.truncated
    assert set(short.cut.values()) == {0}
    # One token is one word: this is how much of the prompt the encoder with the most room sees.
    fits = len(WORDS) - min(long.cut.values()) + n_behind
    known = plain_text(pipeline, name, len(WORDS))
    assert not differ(known, plain_text(pipeline, name, fits))
    assert differ(known, plain_text(pipeline, name, fits - 1))
    same = encoded(fits)
    assert min(same.cut.values()) == n_behind
    assert same.digest == long.digest != short.digest
    assert encoded(fits - 1).digest != long.digest


def test_recordings_and_comparisons_mark_and_name_what_was_cut(opened, tmp_path) -> None:
    """Of three prompts CLIP cuts two and T5 the longest alone; so one is cut in both."""
    dit = opened("flux")
    prompts, limits = [prompt(60), prompt(20), prompt(3)], {"max_sequence_length": 40}
    arguments = {**given("flux"), **limits}
    named = r"1 prompts are longer than every text encoder takes.*'a small red circle"
    with (
        ds.record(dit, tmp_path / "a.zarr", blocks=[0], batch_size=2) as rec,
        pytest.warns(UserWarning, match=named),
    ):
        cache = rec.generate(prompts, **arguments)
    assert cache.truncated.drop(columns="prompt").to_numpy().tolist() == [
        [0, "text_encoder", 62 - 16],
        [0, "text_encoder_2", 62 - 40],
        [1, "text_encoder", 22 - 16],
    ]
    assert cache.hidden()["truncated"].values.tolist() == [True, False, False]
    assert len(set(cache.hidden()["encoded_text"].values)) == 3
    edits = {"zero": ds.edits.zero([1], blocks=[0])}
    with pytest.warns(UserWarning, match=named):
        result = ds.compare(dit, prompts, edits=edits, metrics=["psnr"], resamples=10, **arguments)
    assert result["truncated"].values.tolist() == [True, False, False]
