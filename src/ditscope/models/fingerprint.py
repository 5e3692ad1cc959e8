"""Fingerprints: of a model's weights, cheap enough to take before every recording, and of a single tensor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals import inner_tensors
from ditscope.models.offload import networks, stored_tensors

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_VALUES_PER_TENSOR = 256
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def weights_fingerprint(dit: DiT) -> str:
    """SHA-256 over names, shapes, dtypes and evenly spaced values of all the pipeline's parameters and buffers.

    It reads 256 values of each, not all of them: it tells checkpoints, finetunes, dtypes and
    quantizations apart, and does not prove that no weight was altered. Offloaded weights are read where they
    are kept, so offloading does not change it; quantized ones are read as codes, scales and scheme.

    Raises:
        UnsupportedError: a parameter is on the meta device and its values are not found.
    """
    digest = hashlib.sha256()
    parts = networks(dit.diffusers_pipeline)
    for name, tensor in chain(stored_tensors(parts), _beside_parameters(parts)):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}{_scheme(tensor)}".encode())
        for part in _parts(tensor):
            if part.is_meta:
                raise UnsupportedError(
                    f"weights {name} on the meta device, with values kept in an unknown place",
                    "weights in memory, or offloaded by diffusers or accelerate",
                    "Load the pipeline without offloading it.",
                )
            digest.update(sampled_values(part))
    return digest.hexdigest()


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's shape, dtype and bytes."""
    values = tensor.detach().cpu().contiguous()
    header = f"{tuple(values.shape)} {values.dtype}".encode()
    return hashlib.sha256(header + values.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _beside_parameters(network: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What quantized layers save beside parameters and buffers: the scales, without which codes say little."""
    known = {
        name for name, _ in (*network.named_parameters(remove_duplicate=False), *network.named_buffers())
    }
    for name, value in network.state_dict().items():
        if name not in known and isinstance(value, torch.Tensor):
            yield name, value


def _scheme(tensor: torch.Tensor) -> str:
    """How a quantized tensor's parts are to be understood; nothing for a plain tensor."""
    inner = inner_tensors(tensor)
    return "" if inner is None else f" {type(tensor).__name__} {_ADDRESS.sub('', repr(inner[1]))}"


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that a tensor is made of: by itself, or a quantized one's codes and scales."""
    inner = inner_tensors(tensor)
    if inner is None:
        yield tensor
        return
    for name in inner[0]:
        yield from _parts(getattr(tensor, name))


def sampled_values(tensor: torch.Tensor) -> bytes:
    """256 evenly spaced values of a tensor, or all if it has fewer, as they are in memory."""
    flat = tensor.detach().flatten()
    spaced = torch.linspace(0, flat.numel() - 1, min(flat.numel(), _VALUES_PER_TENSOR), dtype=torch.float64)
    # As bytes, since torch cannot index values of 8 bits everywhere.
    values = flat.contiguous().view(torch.uint8).view(flat.numel(), flat.itemsize)
    return values[spaced.long().to(flat.device)].cpu().numpy().tobytes()
