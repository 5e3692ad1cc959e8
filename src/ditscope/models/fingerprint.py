"""A fingerprint of a model's weights, cheap enough to take before every recording."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch

from ditscope.errors import UnsupportedError
from ditscope.models.offload import stored_parameters

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_VALUES_PER_TENSOR = 256
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def weights_fingerprint(dit: DiT) -> str:
    """SHA-256 over names, shapes, dtypes and evenly spaced values of all the pipeline's parameters.

    It reads 256 values of each parameter, not all of them: it tells checkpoints, finetunes, dtypes and
    quantizations apart, and does not prove that no weight was altered. Offloaded weights are read where they
    are kept, so offloading does not change it; quantized ones are read as codes, scales and scheme.

    Raises:
        UnsupportedError: a parameter is on the meta device and its values are not found.
    """
    found = hashlib.sha256()
    networks = dit.networks
    for name, tensor in chain(stored_parameters(networks), _beside_parameters(networks)):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}{_scheme(tensor)}".encode())
        for part in _parts(tensor):
            found.update(_sample(name, part))
    return found.hexdigest()


def _beside_parameters(networks: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What quantized layers save beside parameters and buffers: the scales, without which codes say little."""
    known = {
        name for name, _ in (*networks.named_parameters(remove_duplicate=False), *networks.named_buffers())
    }
    for name, value in networks.state_dict().items():
        if name not in known and isinstance(value, torch.Tensor):
            yield name, value


def _scheme(tensor: torch.Tensor) -> str:
    """How a quantized tensor's parts are to be understood; nothing for a plain tensor."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return ""
    return f" {type(tensor).__name__} {_ADDRESS.sub('', repr(tensor.__tensor_flatten__()[1]))}"


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that a tensor is made of: by itself, or a quantized one's codes and scales."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _parts(getattr(tensor, name))


def _sample(name: str, tensor: torch.Tensor) -> bytes:
    if tensor.is_meta:
        raise UnsupportedError(
            f"weights {name} on the meta device, with values kept in an unknown place",
            "weights in memory, or offloaded by diffusers or accelerate",
            "Load the pipeline without offloading it.",
        )
    flat = tensor.detach().flatten()
    places = torch.linspace(0, flat.numel() - 1, min(flat.numel(), _VALUES_PER_TENSOR), dtype=torch.float64)
    sampled = flat[places.long().to(flat.device)].cpu().contiguous()
    return sampled.view(torch.uint8).numpy().tobytes()
