"""What ditscope must know of a family of transformers, as data.

A family is a set of checkpoints whose transformers share block classes, call conventions and
guidance. Nothing outside this package asks which family it has: everything else reads these fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

STREAMS: tuple[str, ...] = ("image", "text")
BRANCHES: tuple[str, ...] = ("cond", "uncond")


@dataclass(frozen=True)
class BlockList:
    """One ``ModuleList`` of equal blocks.

    Attributes:
        path: attribute of the transformer that holds the blocks.
        kind: short name of the blocks in ``block_name``, such as ``double``.
        block_class: name of the blocks' diffusers class.
        inputs: stream -> name of the argument that carries it into the block.
        outputs: the streams in the order in which the block returns them.
    """

    path: str
    kind: str
    block_class: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Guidance:
    """How classifier-free guidance shows in the transformer's visits.

    Attributes:
        branches: the branches of one step, in the order in which they are visited.
        scale: call argument that must exceed 1 for the second branch to run.
        negatives: call arguments of which one group must be given for it to run.
    """

    branches: tuple[str, ...]
    scale: str
    negatives: tuple[tuple[str, ...], ...]

    def visited(self, call: Mapping[str, object]) -> tuple[str, ...]:
        """The branches that a call with these arguments visits in each step."""
        scale = call.get(self.scale)
        given = any(all(call.get(name) is not None for name in group) for group in self.negatives)
        guided = isinstance(scale, Real) and float(scale) > 1 and given
        return self.branches if guided else self.branches[:1]


@dataclass(frozen=True)
class Family:
    """One family of text-to-image transformers.

    Attributes:
        name: the family's name in messages and tables.
        pipelines: diffusers pipeline classes that run it.
        transformer_class: class of the pipeline's ``transformer``.
        block_lists: the transformer's blocks in execution order.
        guidance: how guidance shows in the visits.
        timestep_argument: argument of the transformer that carries the timestep.
        timestep_scale: that timestep divided by the scheduler's own (FLUX.1 hands over t / 1000).
        token_pixels: image pixels along one edge of an image token, divided by the autoencoder's scale.
        examples: hub ids of checkpoints of this family.
        checkpoint_notes: what was verified, for the table of supported models.
    """

    name: str
    pipelines: tuple[str, ...]
    transformer_class: str
    block_lists: tuple[BlockList, ...]
    guidance: Guidance
    timestep_argument: str
    timestep_scale: float
    token_pixels: int
    examples: tuple[str, ...] = field(default=())
    checkpoint_notes: str = ""
