"""The normalisation that reads a block's end first: the next block's, or the one before the transformer's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_nnsight import module_of
from ditscope.models.block_streams import among, tokens_of

if TYPE_CHECKING:
    from nnsight import Envoy

    from ditscope.models.block import Block
    from ditscope.models.dit import DiT


@dataclass(frozen=True)
class ReadingNorm:
    """A normalisation inside a trace, as it reads one stream.

    Attributes:
        envoy: its module.
        block: the block that it is in; None behind the last one.
        joined: whether it reads both streams in one tensor.
    """

    envoy: Envoy
    block: Block | None
    joined: bool

    def frozen(self, dit: DiT, changed: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Let it normalise edited hidden states by the mean and deviation of the unedited ones.

        Normalisation by given statistics is affine, so its output is that of the unedited hidden state and, for
        what was changed, the change over the deviation, times the weight. An edit that changes nothing so
        changes nothing, bit for bit.

        Args:
            dit: the model.
            changed: stream -> hidden state before and after the edit, ``[row, token, channel]``; the model went on
                with the second.
        """
        module = module_of(self.envoy)
        layout = dit.blocks[-1].layout if self.block is None else self.block.layout
        reads, changes = self.envoy.input, []
        for stream, (old, edited) in changed.items():
            tokens = tokens_of(layout, stream, dit.run_state.inputs, joined=self.joined)
            # What is added between blocks, as by a ControlNet, is added to both.
            before = old + ((reads if tokens is None else reads[:, tokens]) - edited)
            reads = among(reads, tokens, before)
            change = (edited.float() - old.float()) * inverse_deviation(module, before)
            weight = getattr(module, "weight", None)
            changes.append((tokens, change if weight is None else change * weight.float()))
        self.envoy.input = reads
        normed = self.envoy.output
        for tokens, change in changes:
            own = normed if tokens is None else normed[:, tokens]
            normed = among(normed, tokens, (own.float() + change).to(normed.dtype))
        self.envoy.output = normed


def inverse_deviation(module: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """One over what the normalisation divides by: LayerNorm's deviation, RMSNorm's root mean square; ``[..., 1]``."""
    values = hidden.float()
    if isinstance(module, torch.nn.LayerNorm):
        square = values.var(dim=-1, correction=0, keepdim=True)
    else:
        square = values.square().mean(dim=-1, keepdim=True)
    return torch.rsqrt(square + float(getattr(module, "eps", None) or torch.finfo(values.dtype).eps))


def reading_norm(dit: DiT, block: Block, site: str, stream: str) -> ReadingNorm | None:
    """The normalisation that reads a stream at an end of a block first; None where the family names none."""
    reader = (
        block
        if site == "block_input"
        else next((other for other in dit.blocks if other.index == block.index + 1), None)
    )
    if reader is not None:
        modulated = reader.layout.modulated.get(stream, {}).get("attn")
        if modulated is None:
            return None
        envoy: Any = reader
        for name in modulated.normed.module.split("."):
            envoy = getattr(envoy, name)
        found = ReadingNorm(envoy, reader, modulated.normed.joined)
    else:
        readout = dit.family.readout
        if readout is None or stream != "image":
            return None
        envoy = getattr(dit.transformer, readout)
        inner = getattr(envoy, "norm", None) if hasattr(module_of(envoy), "norm") else envoy
        found = ReadingNorm(inner, None, joined=False)
    return found if _is_norm(module_of(found.envoy)) else None


def require_norm(dit: DiT, block: Block, site: str, stream: str) -> None:
    """Refuse an end of a block that no normalisation reads that could be frozen.

    Raises:
        UnsupportedError: naming the block.
    """
    if reading_norm(dit, block, site, stream) is None:
        raise UnsupportedError(
            f"freeze_layernorm for the {stream} stream at {site} of {block.name}",
            "a LayerNorm or RMSNorm that reads it",
            "Leave this block out with blocks=, or leave freeze_layernorm out.",
        )


def _is_norm(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.LayerNorm) or type(module).__name__ == "RMSNorm"
