"""Further forwards of the transformer within one visit, from the first block on that does something else there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_accelerate import accelerate_hooks
from ditscope.models._internals.of_diffusers import GROUP_OFFLOAD, WEIGHT_HOOKS, diffusers_hooks
from ditscope.models._internals.of_nnsight import module_of, of_occurrence, running_instead
from ditscope.models._internals.of_torch import inner_tensors

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

Combine = Callable[[list[torch.Tensor]], torch.Tensor]


class RepeatedForward:
    """The forwards that one visit makes after the pipeline's own, on the same inputs.

    The blocks before the first that has anything else to do are not run again: they give what they gave in the
    visit's own forward. All that is around the transformer's forward, as offloading, is passed once.

    Args:
        dit: the model, in a visit whose blocks were not asked for yet.
        firsts: for each further forward, the index of the first block that is run.
        graph: whether the further forwards can be differentiated.
    """

    def __init__(self, dit: DiT, firsts: Sequence[int], *, graph: bool = False) -> None:
        self._dit, self._firsts, self._graph = dit, firsts, graph
        self._own = dit.run_state.n_forwards - 1
        self._given: dict[int, Any] = {}

    @contextmanager
    def combined(self, combine: Combine) -> Iterator[None]:
        """While inside, the visit makes its forwards, and the pipeline goes on with what is combined of their outputs.

        Args:
            combine: the outputs, the visit's own first -> the output in its place.
        """
        run = self._dit.run_state

        def all_forwards(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            own = forward(*args, **kwargs)
            if not isinstance(own, tuple):
                raise UnsupportedError(
                    f"a transformer that returns a {type(own).__name__}",
                    "a tuple, as of return_dict=False",
                    "Use one of diffusers' own pipelines.",
                )
            outputs = [own[0]]
            with torch.set_grad_enabled(self._graph):
                for _ in self._firsts:
                    run.n_forwards += 1
                    outputs.append(forward(*args, **kwargs)[0])
                return (combine(outputs), *own[1:])

        with running_instead(module_of(self._dit.transformer), all_forwards):
            given = sorted({block for first in self._firsts for block in self._last_before(first).values()})
            for index in given:
                self._given[index] = _copied(self._dit.blocks[index].output)
            yield

    @contextmanager
    def forward(self, number: int) -> Iterator[None]:
        """While inside, blocks are those of one further forward; ask for them in execution order."""
        blocks, first = self._dit.blocks, self._firsts[number]
        last = self._last_before(first)
        with of_occurrence("a further forward", self._own + 1 + number):
            _ = blocks[0].inputs  # waits for the forward; what is asked for next is of it
            for block in blocks[:first]:
                # Of a list, what its last block gives is all that is used.
                given = self._given[last[block.kind]]
                block.skip(_copied(given) if block.index in last.values() else given)
            yield

    def _last_before(self, first: int) -> Mapping[str, int]:
        """Kind of each block list -> the last of its blocks before one."""
        return {block.kind: block.index for block in self._dit.blocks[:first]}


def require_repeatable(dit: DiT) -> None:
    """Refuse a transformer whose forward cannot be run again in a visit.

    Raises:
        UnsupportedError: its weights are moved by groups, in the order of one whole forward.
    """
    if any(
        GROUP_OFFLOAD in diffusers_hooks(module) for module in dit.diffusers_pipeline.transformer.modules()
    ):
        raise UnsupportedError(
            "a further forward of a transformer under group offload, which moves weights in the order of a whole one",
            "weights that are there when a block runs",
            "Use enable_model_cpu_offload() or enable_sequential_cpu_offload() instead.",
        )


def require_differentiable(dit: DiT) -> None:
    """Refuse a model through whose further forwards there is no gradient, or a wrong one.

    Raises:
        UnsupportedError: weights that are quantized, or that offloading or casting takes away once a block has run; or
            torch's inference mode, in which nothing is kept for a gradient.
    """
    if torch.is_inference_mode_enabled():
        raise UnsupportedError(
            "gradients in torch.inference_mode()",
            "a run outside of it",
            "Leave the mode; no_grad is no harm.",
        )
    transformer = dit.diffusers_pipeline.transformer
    for name, tensor in transformer.named_parameters():
        if inner_tensors(tensor) or not tensor.is_floating_point():
            raise _not_differentiable(f"quantized weights ({name})")
        if tensor.is_inference():
            raise _not_differentiable(f"weights that were made in torch.inference_mode() ({name})")
    for name, module in transformer.named_modules():
        taken = [hook for hook in diffusers_hooks(module) if hook in WEIGHT_HOOKS]
        if taken or any(accelerate_hooks(module)):
            raise _not_differentiable(f"weights that are offloaded or cast ({name or 'transformer'})")


def _not_differentiable(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"gradients through {what}",
        "weights in a floating type, all on the device that computes",
        "Load the model without it, or measure by patch_effect.",
    )


def _copied(output: Any) -> Any:
    """A block's output that may be written to, as it came or in the copy."""
    if isinstance(output, tuple):
        return tuple(map(_copied, output))
    return None if output is None else output.clone()
