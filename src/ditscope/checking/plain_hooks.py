"""What plain PyTorch hooks see on the pipeline outside of any trace: the reference to compare with.

Nothing here uses ditscope's blocks or visits, and of its layouts only which submodules to watch. The image
stream is known from the text stream by its number of tokens, and order by the order of the calls. Tensors
are kept as digests of their bytes, so that a full-size model can be checked in little memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ditscope.models.family import Family
from ditscope.models.fingerprint import tensor_digest
from ditscope.models.hook_points import HookPoint
from ditscope.models.module_arguments import named_arguments
from ditscope.models.pipeline_call import step_callback


def digest(tensor: Any) -> str:
    """SHA-256 of a tensor's bytes, shape and dtype, or of several; empty where there is no tensor."""
    if isinstance(tensor, tuple):
        return " ".join(map(digest, tensor))
    return "" if tensor is None else tensor_digest(tensor)


CALLS_INSIDE = 2
"""Calls of a block whose inside is watched: where the branches run one after the other, one of each."""


@dataclass
class PlainRun:
    """What the hooks saw in one run.

    Attributes:
        images: float ``[row, y, x, rgb]``, 0 to 1.
        order: names of the block modules in the order in which they were called.
        seen: (module name, call number, site, stream) -> digest.
        inside: (module name, call number) -> hook point inside it -> digest, in the order in which the module
            passed them; of the first :data:`CALLS_INSIDE` calls.
        text_inputs: digest of the transformer's text embedding, by call and row.
        readouts: digest of the image tokens that the transformer reads its output from, by call.
        n_tokens: image and text tokens that the transformer is passed, by call.
        n_given: image tokens with those of reference images.
        n_registers: tokens that the transformer puts before the text.
        n_steps: step-end callbacks of the pipeline.
    """

    images: np.ndarray
    order: list[str] = field(default_factory=list)
    seen: dict[tuple[str, int, str, str], str] = field(default_factory=dict)
    inside: dict[tuple[str, int], dict[HookPoint, str]] = field(default_factory=dict)
    text_inputs: list[tuple[str, ...]] = field(default_factory=list)
    readouts: list[str] = field(default_factory=list)
    n_tokens: list[tuple[int, int]] = field(default_factory=list)
    n_given: int = 0
    n_registers: int = 0
    n_steps: int = 0


def run_plainly(
    pipeline: Any, family: Family, blocks: Mapping[str, Iterable[HookPoint]], call: dict[str, Any]
) -> PlainRun:
    """Run the bare pipeline with plain hooks on its transformer and on the named submodules of it.

    Args:
        pipeline: the pipeline.
        family: says which argument carries the text, and whether there are registers, padding and a readout.
        blocks: name of a block module -> the hook points to watch inside it.
        call: the pipeline's arguments.
    """
    run = PlainRun(images=np.empty(0))
    calls: dict[str, int] = {}
    transformer = pipeline.transformer

    def before_transformer(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        text = kwargs[family.text_argument]
        latents = args[0] if args else kwargs["hidden_states"]
        image_tokens = image_tokens_of(module, latents, kwargs)
        kept = None if family.text_padding_kept else kwargs[family.text_mask_argument or ""]
        text_tokens = text.shape[1] if kept is None else int(kept.sum(dim=1).max())
        run.n_tokens.append((image_tokens, text_tokens))
        run.n_registers = getattr(module, family.registers).shape[1] if family.registers else 0
        run.n_given = latents.shape[1] if latents.ndim == 3 else image_tokens
        run.text_inputs.append(tuple(digest(row) for row in text))

    def note(name: str, site: str, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, torch.Tensor) and value.ndim == 3:
                for stream, tokens in _split(value, *run.n_tokens[-1], run.n_given, run.n_registers):
                    run.seen[name, calls[name], site, stream] = digest(tokens)

    def watch(name: str):
        def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            calls[name] = calls.get(name, -1) + 1
            run.order.append(name)
            given = named_arguments(module, args, kwargs)
            note(name, "block_input", [given.get("encoder_hidden_states"), given.get("hidden_states")])

        def after(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            note(name, "block_output", output if isinstance(output, tuple) else [output])

        return before, after

    def watch_inside(name: str, point: HookPoint, module: Any) -> Any:
        passed = itertools.count()

        def note_inside(value: Any) -> None:
            if next(passed) % point.calls == point.call and calls[name] < CALLS_INSIDE:
                run.inside.setdefault((name, calls[name]), {})[point] = digest(value)

        def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            note_inside(named_arguments(module, args, kwargs).get(point.argument))

        def after(module: Any, args: Any, output: Any) -> None:
            note_inside(output)

        if point.argument:
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)

    def before_readout(module: Any, args: Any) -> None:
        run.readouts.append(digest(args[0][:, : run.n_tokens[-1][0]]))

    def at_step_end(*_: Any) -> dict[str, Any]:
        run.n_steps += 1
        return {}

    with ExitStack() as hooks:
        hooks.enter_context(transformer.register_forward_pre_hook(before_transformer, with_kwargs=True))
        if family.readout is not None:
            readout = transformer.get_submodule(family.readout)
            hooks.enter_context(readout.register_forward_pre_hook(before_readout))
        for name, points in blocks.items():
            module = transformer.get_submodule(name)
            before, after = watch(name)
            hooks.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
            hooks.enter_context(module.register_forward_hook(after, with_kwargs=True))
            for point in points:
                hooks.enter_context(watch_inside(name, point, module.get_submodule(point.module)))
        result = pipeline(**call, output_type="np", **{step_callback(pipeline): at_step_end})
    run.images = np.asarray(result.images)
    return run


def image_tokens_of(transformer: Any, latents: torch.Tensor, given: Mapping[str, Any]) -> int:
    """Tokens of the image that is generated, from what the transformer is passed."""
    if latents.ndim == 4:
        return latents[0, 0].numel() // transformer.config.patch_size**2
    ids, shapes = given.get("img_ids"), given.get("img_shapes")
    if ids is not None:
        return int((ids.reshape(-1, *ids.shape[-2:])[0][:, 0] == 0).sum())
    if shapes is not None:  # of each row, the generated image's first and then the reference images'
        return math.prod(np.array(shapes[0]).reshape(-1, 3)[0].tolist())
    return latents.shape[1]


def _split(
    value: torch.Tensor, image: int, text: int, given: int, registers: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Streams by their numbers of tokens; registers, text and image follow each other where they are joined."""
    end = registers + text
    if value.shape[1] == end:
        yield "text", value[:, registers:]
    elif value.shape[1] == end + given:
        yield "text", value[:, registers:end]
        yield "image", value[:, end : end + image]
    else:
        yield "image", value[:, :image]
