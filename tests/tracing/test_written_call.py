"""What a manifest has of a call's arguments."""

from __future__ import annotations

import hashlib

import numpy as np
import PIL.Image
import pytest
import torch

from ditscope.errors import InputError
from ditscope.tracing.prompt_embeds import PromptEmbeds
from ditscope.tracing.written_call import has_digest, tensors_in, written_call, written_embeddings

TENSOR = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
DIGEST = hashlib.sha256(b"(2, 3) torch.bfloat16" + TENSOR.view(torch.uint8).numpy().tobytes()).hexdigest()
WRITTEN = {"tensor": DIGEST, "shape": [2, 3], "dtype": "bfloat16"}


def test_tensors_are_written_by_digest_at_any_depth() -> None:
    call = {"latents": TENSOR, "joint_attention_kwargs": {"scale": 0.5, "masks": [TENSOR]}}
    found = written_call(call)
    assert found == {"latents": WRITTEN, "joint_attention_kwargs": {"scale": 0.5, "masks": [WRITTEN]}}


@pytest.mark.parametrize(
    "other",
    [TENSOR + 1, TENSOR.reshape(3, 2), TENSOR.float(), TENSOR.T],
    ids=["values", "shape", "dtype", "order"],
)
def test_another_tensor_has_another_digest(other) -> None:
    assert written_call({"latents": other})["latents"]["tensor"] != DIGEST


def test_where_and_how_a_tensor_is_kept_makes_no_difference() -> None:
    wide = torch.zeros(2, 6, dtype=torch.bfloat16)
    wide[:, ::2] = TENSOR
    assert written_call({"latents": wide[:, ::2].requires_grad_()})["latents"] == WRITTEN
    values = np.arange(6.0).reshape(2, 3)
    both = written_call({"numpy": values, "torch": torch.as_tensor(values)})
    assert both["numpy"] == both["torch"]


def test_lists_of_numbers_are_written_whole() -> None:
    for values in ([1.0, 0.5], np.array([1.0, 0.5]), torch.tensor([1.0, 0.5])):
        assert written_call({"sigmas": values, "strength": torch.tensor(0.5)}) == {
            "sigmas": [1.0, 0.5],
            "strength": 0.5,
        }


def test_images_and_callbacks_are_written_by_what_tells_them_apart() -> None:
    found = written_call({"image": PIL.Image.new("RGB", (4, 2)), "callback": lambda *_: {}})
    assert found["image"]["size"] == [4, 2]
    assert found["callback"]["callback"].endswith("<lambda>")


def test_anything_else_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="pipeline argument 'image' of type object"):
        written_call({"image": object()})


def test_embeddings_are_written_under_their_label() -> None:
    prompts = [PromptEmbeds("a", prompt_embeds=TENSOR[:1]), PromptEmbeds("b", prompt_embeds=TENSOR[1:])]
    found = written_embeddings(prompts)
    assert found["a"]["prompt_embeds"]["shape"] == [1, 3]
    assert found["a"]["prompt_embeds"]["tensor"] != found["b"]["prompt_embeds"]["tensor"]
    assert written_embeddings(["a text"]) == {}


def test_tensors_are_found_at_any_depth_and_in_embeddings() -> None:
    prompt = PromptEmbeds("a", prompt_embeds=TENSOR[:1], pooled_prompt_embeds=TENSOR[1:])
    more = {
        "scale": 0.5,
        "sigmas": torch.ones(3),
        "text": "a",
        "none": None,
        "masks": (TENSOR, [TENSOR.float()]),
    }
    found = list(tensors_in([{"joint_attention_kwargs": more, "image": np.ones((2, 3))}, prompt, "a text"]))
    expected = [TENSOR, TENSOR.float(), TENSOR[:1], TENSOR[1:]]
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    "value",
    [TENSOR, np.ones((2, 2)), PIL.Image.new("RGB", (4, 2)), lambda *_: {}],
    ids=["tensor", "array", "image", "callback"],
)
def test_a_digest_is_told_from_other_arguments_at_any_depth(value) -> None:
    for call in ({"a": value}, {"a": [value]}, {"a": {"b": [1, {"c": value}]}}):
        assert has_digest(written_call(call)["a"])


def test_what_is_written_whole_has_no_digest() -> None:
    for value in ("tensor", None, 3, [1.0], {"image": "a", "tensor": 2}, {"callback": ["digest"]}):
        assert not has_digest(value)
