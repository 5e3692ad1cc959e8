"""What plain PyTorch hooks see on the pipeline outside of any trace: the reference to compare with.

Nothing here uses ditscope's blocks, layouts or visits. The image stream is told from the text stream
by its number of tokens, and order by the order of the calls. Tensors are kept as digests of their
bytes, so that a full-size model can be checked in little memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes, shape and dtype."""
    values = tensor.detach().cpu().contiguous()
    header = f"{tuple(values.shape)} {values.dtype}".encode()
    return hashlib.sha256(header + values.view(torch.uint8).numpy().tobytes()).hexdigest()


@dataclass
class Hooked:
    """What the hooks saw in one run.

    Attributes:
        images: float ``[row, y, x, rgb]``, 0 to 1.
        order: names of the block modules in the order in which they were called.
        seen: (module name, call number, site, stream) -> digest.
        text_inputs: digest of the transformer's text embedding at each call.
        n_tokens: image and text tokens that the transformer is handed.
        n_steps: step-end callbacks of the pipeline.
    """

    images: np.ndarray
    order: list[str] = field(default_factory=list)
    seen: dict[tuple[str, int, str, str], str] = field(default_factory=dict)
    text_inputs: list[str] = field(default_factory=list)
    n_tokens: tuple[int, int] = (0, 0)
    n_steps: int = 0


def run_hooked(pipeline: Any, block_names: Iterable[str], call: dict[str, Any], text_argument: str) -> Hooked:
    """Run the bare pipeline with plain hooks on its transformer and on the named submodules of it."""
    found = Hooked(images=np.empty(0))
    image_tokens: list[int] = []
    calls: dict[str, int] = {}
    handles = []

    def before_transformer(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        image_tokens[:] = [kwargs["hidden_states"].shape[1]]
        found.n_tokens = (image_tokens[0], kwargs[text_argument].shape[1])
        found.text_inputs.append(digest(kwargs[text_argument]))

    def note(name: str, site: str, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, torch.Tensor) and value.ndim == 3:
                stream = "image" if value.shape[1] == image_tokens[0] else "text"
                found.seen[name, calls[name], site, stream] = digest(value)

    def watch(name: str):
        def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            calls[name] = calls.get(name, -1) + 1
            found.order.append(name)
            note(name, "block_input", [kwargs.get("hidden_states"), kwargs.get("encoder_hidden_states")])

        def after(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            note(name, "block_output", output if isinstance(output, tuple) else [output])

        return before, after

    def at_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        found.n_steps += 1
        return {}

    transformer = pipeline.transformer
    try:
        handles.append(transformer.register_forward_pre_hook(before_transformer, with_kwargs=True))
        for name in block_names:
            before, after = watch(name)
            module = transformer.get_submodule(name)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        result = pipeline(**call, output_type="np", callback_on_step_end=at_step_end)
    finally:
        for handle in handles:
            handle.remove()
    found.images = np.asarray(result.images)
    return found
