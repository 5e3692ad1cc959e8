"""Digests of every value: of a model's weights, cheap enough to be taken before and after every run, and of a tensor.

All values are read every time. torch counts the writes to a tensor, but not those by ``.data``, numpy, DLPack or the
fused optimizers, nor PEFT's when it fuses an adapter; a run reads its weights once a visit, and this once.

Values are read where they are: rows of 1,024 words of 32 bits become the sum of words times odd 64-bit keys,
modulo 2^64, and those sums go through SHA-256. One word that differs always changes its sum, and several in a row
leave it as it is with a probability of at most 2^-32. In GB/s, on one core of a Xeon: these sums 2.6, which torch
runs on all cores or the GPU; SHA-256 1.4, BLAKE2b 0.8; CRC-32C, which is of 32 bits and for the CPU alone, 7.4.
So whether a tensor on the CPU is what it was the last time is told by its CRC-32C, which finds one word that differs,
and others but for 2^-32, as the sums do; then its digest is taken over.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import google_crc32c
import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_torch import inner_tensors, saves_more
from ditscope.models.offload import Members, in_pipeline, members_by_network, networks, stored_tensors

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_WORD, _WORDS_IN_ROW = 4, 1024
_ROWS_AT_ONCE, _ROWS_AT_ONCE_ON_CPU = 1 << 14, 1 << 8
"""With their products 192 MiB, and on a CPU 3 MiB, which stay in its caches; the digest is the same."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def weights_fingerprint(dit: DiT, modules: Members | None = None) -> str:
    """SHA-256 over names, shapes, dtypes and every value of all the pipeline's parameters and buffers.

    Values are read as they are in memory, so that writes in place and fused adapters count, and offloaded ones
    where they are kept: neither device nor offloading changes it. Quantized weights are codes, scales and scheme.
    On one core the embedded pipeline (386 tensors, 17 MB) takes some 20 ms, and 6 where it is as it was the last time;
    large weights 2 GB/s, and 7 then.

    Args:
        dit: the model.
        modules: those of :func:`ditscope.models.offload.in_pipeline`, where they are at hand.

    Raises:
        UnsupportedError: a parameter is on the meta device and its values are not found.
    """
    pipeline = dit.diffusers_pipeline
    if modules is None:
        modules = in_pipeline(members_by_network(pipeline))
    before, found = _LAST.get(dit, {}), {}
    for name, tensor in chain(stored_tensors(modules), _beside_parameters(pipeline, modules)):
        checked = _checked(tensor)
        if checked is None and any(part.is_meta for part in _parts(tensor)):
            raise UnsupportedError(
                f"weights {name} on the meta device, with values kept in an unknown place",
                "weights in memory, or offloaded by diffusers or accelerate",
                "Load the pipeline without offloading it.",
            )
        last, known = before.get(name, (None, ""))
        found[name] = checked, known if checked is not None and checked == last else values_digest(tensor)
    _LAST[dit] = found
    said = "".join([f"{name} {digest}\n" for name, (_, digest) in found.items()])
    return hashlib.sha256(said.encode()).hexdigest()


_Checked = tuple[torch.Size, torch.dtype, int] | None

_LAST: weakref.WeakKeyDictionary[DiT, dict[str, tuple[_Checked, str]]] = weakref.WeakKeyDictionary()
"""Of each model, what its tensors were the last time, by name, and their digests."""


def _checked(tensor: torch.Tensor) -> _Checked:
    """Shape, dtype and CRC-32C of the values of a plain tensor that lies in the CPU's memory in one piece."""
    if not tensor.is_cpu or not tensor.is_contiguous() or inner_tensors(tensor) is not None:
        return None
    if tensor.is_conj() or tensor.is_neg():  # then the bytes are not yet the values
        return None
    # What torch and numpy make of a tensor's bytes takes as long as the checksum of a small one.
    values = _bytes(tensor.nbytes).from_address(tensor.data_ptr())
    return tensor.shape, tensor.dtype, google_crc32c.value(values)


@functools.cache
def _bytes(length: int) -> Any:
    return ctypes.c_char * length


def values_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's shape, dtype, and the sums of all its values; a quantized one's by its parts.

    It is equal on every device and for every layout in memory. A tensor that is not contiguous is copied for it.
    """
    digest = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}{_scheme(tensor)}".encode())
    for part in _parts(tensor):
        digest.update(f" {tuple(part.shape)} {part.dtype} ".encode())
        values = part.detach().reshape(-1).view(torch.uint8)
        if values.storage_offset() % _WORD:  # of such a place torch makes no words
            values = values.clone()
        in_rows = len(values) - len(values) % (_WORD * _WORDS_IN_ROW)
        if in_rows:
            rows, keys = values[:in_rows].view(torch.int32).view(-1, _WORDS_IN_ROW), _keys(values.device)
            for some in rows.split(_ROWS_AT_ONCE_ON_CPU if values.is_cpu else _ROWS_AT_ONCE):
                digest.update(some.long().mul_(keys).sum(1).cpu().numpy().data)
        digest.update(values[in_rows:].cpu().numpy().data)
    return digest.hexdigest()


@functools.cache
def _keys(device: torch.device) -> torch.Tensor:
    """Odd numbers without a pattern, int64 ``[word in row]``."""
    numbers = bytearray(hashlib.shake_256(b"ditscope").digest(8 * _WORDS_IN_ROW))
    return (torch.frombuffer(numbers, dtype=torch.int64) | 1).to(device)


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's shape, dtype and bytes, as ``hashlib`` gives it."""
    values = tensor.detach().cpu().contiguous()
    header = f"{tuple(values.shape)} {values.dtype}".encode()
    return hashlib.sha256(header + values.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _beside_parameters(pipeline: Any, modules: Members) -> Iterator[tuple[str, torch.Tensor]]:
    """What quantized layers save beside parameters and buffers: the scales, without which codes say little."""
    if not saves_more([module for _, module in modules]):
        return
    network = networks(pipeline)
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
