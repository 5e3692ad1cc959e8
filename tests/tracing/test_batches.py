"""Texts that are given for each prompt or sample go with their batch."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from pipeline_recording import GUIDED, PROMPTS, SEEDS, record

from ditscope.errors import InputError
from ditscope.tracing.batches import batch_call, batches_of, own_arguments
from ditscope.tracing.prompt_embeds import PromptEmbeds

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
    call = {"negative_prompt_2": texts, "sigmas": [1.0, 0.5], "latents": None, "prompt_3": None}
    assert batch_call(call, range(1, 4), n_prompts=2, n_samples=4) == {**call, "negative_prompt_2": expected}


@pytest.mark.parametrize(
    ("rows", "expected"), [([5], [5, 5, 5]), ([5, 6], [5, 6, 6]), ([5, 6, 7, 8], [6, 7, 8])]
)
@pytest.mark.parametrize("name", ["negative_prompt_embeds", "image"])
def test_rows_of_tensors_follow_the_samples(name, rows, expected) -> None:
    tensor = torch.tensor(rows)[:, None, None, None] * torch.ones(1, 2, 3, 1)
    for given in (tensor, tensor.numpy()):
        own = batch_call({name: given}, range(1, 4), n_prompts=2, n_samples=4)[name]
        assert type(own) is type(given)
        assert own[:, 0, 0, 0].tolist() == expected
        assert not np.shares_memory(np.asarray(own), np.asarray(given))


def test_masks_without_channels_follow_the_samples() -> None:
    masks = torch.arange(4.0)[:, None, None] * torch.ones(1, 2, 3)
    own = batch_call({"mask_image": masks}, range(1, 3), n_prompts=2, n_samples=4)["mask_image"]
    assert own[:, 0, 0].tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match="3 rows as mask_image"):
        batch_call({"mask_image": masks[:3]}, range(2), n_prompts=2, n_samples=4)


def test_arguments_that_are_each_samples_own_are_told_from_those_of_all() -> None:
    latents = torch.arange(4.0)[:, None, None] * torch.ones(1, 5, 4)
    picture = PIL.Image.new("RGB", (4, 4))
    call = {
        "negative_prompt": ["x", "y"],
        "prompt_2": "z",
        "negative_prompt_2": None,
        "latents": latents,
        "sigmas": torch.tensor([1.0, 0.5]),
        "image": picture,
        "height": 32,
    }
    shared, own = own_arguments(call, n_prompts=2, n_samples=4)
    assert shared == {
        name: call[name] for name in ("prompt_2", "negative_prompt_2", "sigmas", "image", "height")
    }
    assert [one["negative_prompt"] for one in own] == ["x", "x", "y", "y"]
    assert [one["latents"].tolist() for one in own] == [latents[at : at + 1].tolist() for at in range(4)]
    assert all(one.keys() == {"negative_prompt", "latents"} for one in own)
    assert own_arguments({"height": 32}, 1, 2) == ({"height": 32}, [{}, {}])
    with pytest.raises(InputError, match="3 texts as prompt_2"):
        own_arguments({"prompt_2": ["a", "b", "c"]}, 2, 4)


def test_an_argument_is_a_samples_own_however_many_samples_there_are() -> None:
    """So that one more sample can be added to those that were made together."""
    latents = torch.arange(10.0).view(2, 5, 1)
    both = own_arguments({"negative_prompt": ["x", "y"], "latents": latents}, 2, 2)
    one = own_arguments({"negative_prompt": ["y"], "latents": latents[1:]}, 1, 1)
    assert one[0] == both[0] == {}
    assert one[1][0]["negative_prompt"] == both[1][1]["negative_prompt"]
    assert torch.equal(one[1][0]["latents"], both[1][1]["latents"])


def test_what_is_for_all_samples_goes_with_every_batch() -> None:
    picture = PIL.Image.new("RGB", (4, 4))
    call = {
        "sigmas": torch.tensor([1.0, 0.5]),  # as many as prompts
        "image": np.zeros((2, 4, 3)),
        "mask_image": torch.zeros(2, 4),
        "ip_adapter_image": [picture, picture],
        "ip_adapter_image_embeds": [torch.zeros(1, 2, 3)] * 2,
        "joint_attention_kwargs": {"scale": 0.5, "mask": torch.zeros(1, 4, 4), "vector": torch.zeros(4)},
        "reference": [picture],
    }
    own = batch_call(call, range(2, 4), n_prompts=2, n_samples=4)
    assert all(own[name] is value for name, value in call.items())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"latents": torch.zeros(3, 5, 4)}, "3 rows as latents for 2 prompts and 4 samples"),
        ({"latents": torch.zeros(2, 5, 4)}, "2 rows as latents for 4 samples of 2 seeds"),
        ({"latents": torch.zeros(1, 5, 4)}, "1 rows as latents for 4 samples of 2 seeds"),
        ({"image": [PIL.Image.new("RGB", (4, 4))] * 2}, "image with several images"),
        ({"image": (torch.zeros(3, 4, 4),) * 4}, "image with several images"),
        ({"kwargs": {"mask": torch.zeros(2, 4)}}, "kwargs with several images or rows"),
    ],
)
def test_what_may_be_of_one_sample_or_of_all_is_refused(call, words) -> None:
    with pytest.raises(InputError, match=words):
        batch_call(call, range(2), n_prompts=2, n_samples=4)


def test_a_single_batch_or_sample_leaves_no_doubt() -> None:
    latents, pictures = torch.zeros(4, 5, 4), [PIL.Image.new("RGB", (4, 4))] * 4
    own = batch_call({"latents": latents, "image": pictures}, range(4), n_prompts=2, n_samples=4)
    assert torch.equal(own["latents"], latents)
    assert own["image"] is pictures
    call = {"kwargs": {"mask": torch.zeros(2, 4)}, "image": pictures}
    assert batch_call(call, range(1), n_prompts=1, n_samples=1) == call
    shared = torch.ones(1, 5, 4)  # one start for several prompts, with a seed as label
    assert batch_call({"latents": shared}, range(2), n_prompts=3, n_samples=3)["latents"].shape == (2, 5, 4)


def test_embeddings_that_cannot_be_in_one_batch_are_refused_before_any_run() -> None:
    lengths = {"a": 5, "b": 5, "c": 6}
    prompts = [PromptEmbeds(label, prompt_embeds=torch.zeros(1, n, 4)) for label, n in lengths.items()]
    with pytest.raises(InputError, match=r"prompt_embeds of 'c' of shape \[1, 6, 4\]; .*as of 'a'"):
        batches_of(prompts, [3], 3, {})
    assert [len(batch.samples) for batch in batches_of(prompts, [3], 2, {})] == [2, 1]


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
    negatives = [call["negative_prompt"] for call in together.samples["call"]]
    assert negatives == [texts["negative_prompt"][at * len(texts["negative_prompt"]) // 4] for at in range(4)]
    assert "negative_prompt" not in together.manifest["config"]["call"]
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
