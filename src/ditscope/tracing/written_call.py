"""A call as it is written down: texts and numbers as they are; images, tensors and callbacks by their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch

from ditscope.cache.json_values import json_values
from ditscope.models.fingerprint import tensor_digest
from ditscope.tracing.callbacks import written_callback
from ditscope.tracing.prompt_embeds import Prompt, PromptEmbeds


def written_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments as JSON values, at any depth as of :func:`as_written`.

    Raises:
        InputError: an argument of another kind, by name.
    """
    return json_values(call, "pipeline argument", default=as_written)


def written_embeddings(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Label -> argument -> the digest of its tensor, of prompts that are embeddings."""
    return {
        prompt.label: {name: as_written(tensor) for name, tensor in prompt.tensors.items()}
        for prompt in prompts
        if isinstance(prompt, PromptEmbeds)
    }


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in an argument, at any depth, that are written down as a digest.

    No arrays of numpy: a pipeline takes them for pixels, in another order of axes than those of a tensor.
    """
    if isinstance(value, PromptEmbeds):
        value = value.tensors
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, torch.Tensor) and value.ndim >= 2:
        yield value


def has_digest(value: Any) -> bool:
    """Whether a digest of :func:`as_written` stands, at any depth, in a value as it is written down."""
    if isinstance(value, dict):
        kinds = ({"tensor", "shape", "dtype"}, {"image", "mode", "size"}, {"callback", "digest"})
        return any(kind <= value.keys() for kind in kinds) or any(map(has_digest, value.values()))
    return isinstance(value, list) and any(map(has_digest, value))


def as_written(value: Any) -> Any:
    """What a manifest has of an argument that is not JSON: numbers of numpy and torch up to a list of them, the
    digest, shape and dtype of a tensor, the digest of an image's pixels, name and digest of a callback.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, PIL.Image.Image):
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return {"image": digest, "mode": value.mode, "size": list(value.size)}
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        if value.ndim < 2:
            return value.tolist()
        tensor = torch.as_tensor(value)
        dtype = str(tensor.dtype).removeprefix("torch.")
        return {"tensor": tensor_digest(tensor), "shape": list(tensor.shape), "dtype": dtype}
    if callable(value):
        return written_callback(value)
    raise TypeError("no text, numbers, tensor, callback, or PIL image")
