"""Texts that are given for each prompt or sample go with their batch."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_recording import GUIDED, PROMPTS, SEEDS, record

from ditscope.errors import InputError
from ditscope.tracing.batches import batch_call

KEPT = {"streams": ("image", "text"), "sites": ("block_input", "block_output"), "blocks": [0, -1]}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("x", ["x", "x", "x"]),
        (["x"], ["x", "x", "x"]),
        (["x", "y"], ["x", "y", "y"]),
        (("p", "q", "r", "s"), ["q", "r", "s"]),
    ],
)
def test_texts_follow_the_samples(texts, expected) -> None:
    call = {"negative_prompt_2": texts, "sigmas": [1.0, 0.5], "prompt_embeds": None, "prompt_3": None}
    assert batch_call(call, range(1, 4), n_prompts=2, n_samples=4) == {**call, "negative_prompt_2": expected}


@pytest.mark.parametrize("texts", [[], ["x"] * 3, ["x"] * 5])
def test_another_number_of_texts_is_refused_by_name(texts) -> None:
    with pytest.raises(InputError, match=f"{len(texts)} texts as prompt_2 for 2 prompts and 4 samples"):
        batch_call({"prompt_2": texts}, range(4), n_prompts=2, n_samples=4)


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt_2": "a red star", "negative_prompt": ["blurred", "dark"]},
        {"prompt_2": ["a red star", "a circle"], "negative_prompt": ["blurred", "dark", "small", "wide"]},
    ],
)
def test_batches_are_recorded_as_samples_alone_are(dit, tmp_path, texts) -> None:
    """A batch of three and a partial one of one, against every sample by itself."""
    call = {**GUIDED, **texts}
    together = record(dit, tmp_path / "together.zarr", call=call, batch_size=3, **KEPT)
    assert together.manifest["config"]["call"]["negative_prompt"] == texts["negative_prompt"]
    for sample, (prompt, seed) in enumerate((p, s) for p in PROMPTS for s in SEEDS):
        own = {
            name: text if isinstance(text, str) else text[sample * len(text) // 4]
            for name, text in texts.items()
        }
        alone = record(dit, tmp_path / f"{sample}.zarr", prompt, seed, {**GUIDED, **own}, **KEPT)
        for stream in KEPT["streams"]:
            for site in KEPT["sites"]:
                one, all_ = (cache.hidden(stream, site).values for cache in (alone, together))
                np.testing.assert_allclose(all_[sample], one[0], rtol=1e-3, atol=1e-3)


def test_texts_of_another_number_are_refused_before_anything_is_written(dit, tmp_path) -> None:
    path = tmp_path / "store"
    with pytest.raises(InputError, match="3 texts as negative_prompt for 2 prompts and 4 samples"):
        record(dit, path, call={**GUIDED, "negative_prompt": ["a", "b", "c"]}, batch_size=2)
    assert not path.exists()
