"""A fingerprint of a model's weights, cheap enough to take before every recording."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_VALUES_PER_PARAMETER = 256


def weights_fingerprint(dit: DiT) -> str:
    """SHA-256 over names, shapes, dtypes and evenly spaced values of all the pipeline's parameters.

    It reads 256 values of each parameter, not all of them: it tells checkpoints, finetunes and dtypes
    apart, and does not prove that no weight was altered.
    """
    found = hashlib.sha256()
    components = dit.diffusers_pipeline.components
    networks = torch.nn.ModuleDict({n: c for n, c in components.items() if isinstance(c, torch.nn.Module)})
    for name, parameter in networks.named_parameters():
        found.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        places = torch.linspace(
            0, flat.numel() - 1, min(flat.numel(), _VALUES_PER_PARAMETER), dtype=torch.float64
        )
        sampled = flat[places.long().to(flat.device)].cpu().contiguous()
        found.update(sampled.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
