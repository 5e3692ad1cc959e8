"""What ditscope must know of a family of transformers, as data.

A family is a set of checkpoints whose transformers share block classes, call conventions and
guidance. Nothing outside this package asks which family it has: everything else reads these fields.
What a run can tell by itself is not described here: whether arguments come by name or by position,
how many tokens a visit has, how many steps a schedule has.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from ditscope.models.hook_points import Modulated, Tap, Term


@dataclass(frozen=True)
class BlockList:
    """One ``ModuleList`` of equal blocks.

    Attributes:
        path: attribute of the transformer where the blocks are.
        kind: short name of the blocks in ``block_name``, such as ``double``.
        block_class: name of the blocks' diffusers class.
        inputs: stream -> name of the argument that carries it into the block.
        outputs: the streams in the order in which the block returns them.
        joined: whether block input and output are one tensor, with the streams' tokens one after another in
            the order of ``outputs``; with a single stream, that is the bare tensor.
        dropped: streams that the list's last block takes but does not return.
        returned: the streams that this very block returns, if not all of ``outputs``.
        taps: stream -> site -> where the site is, for the sites inside the block.
        also_added: stream -> what the block adds to it beside ``attn_output`` and ``mlp_output``.
        modulated: stream -> ``attn`` or ``mlp`` -> what its shift and scale are applied to.
        attended: stream -> where the stream with its gated attention is, in blocks that do not keep the sum: they
            pass it to the MLP and add the MLP's output to the stream as it came.
        value_path: submodules through which what attention is passed of an image token becomes its part of
            ``attn_output`` if the token attends to itself alone; none where that is not so simple.
    """

    path: str
    kind: str
    block_class: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    joined: bool = False
    dropped: tuple[str, ...] = ()
    returned: tuple[str, ...] | None = None
    taps: Mapping[str, Mapping[str, Tap]] = field(default_factory=dict)
    also_added: Mapping[str, tuple[Term, ...]] = field(default_factory=dict)
    modulated: Mapping[str, Mapping[str, Modulated]] = field(default_factory=dict)
    attended: Mapping[str, Tap] = field(default_factory=dict)
    value_path: tuple[str, ...] = ()

    def streams(self, site: str) -> tuple[str, ...]:
        """The streams that there are at a site, in the order of ``outputs``."""
        if site == "block_input":
            return self.outputs
        returned = self.outputs if self.returned is None else self.returned
        if site == "block_output":
            return returned
        return tuple(stream for stream in returned if site in self.taps.get(stream, {}))

    def tapped_modules(self) -> tuple[str, ...]:
        """Paths of the block's submodules at which something is read, each once."""
        taps = [tap for sites in self.taps.values() for tap in sites.values()]
        taps += [tap for terms in self.also_added.values() for term in terms for tap in term if tap]
        taps += [
            tap
            for parts in self.modulated.values()
            for each in parts.values()
            for tap in (each.normed, each.passed)
        ]
        taps += self.attended.values()
        return tuple(dict.fromkeys(tap.module for tap in taps if tap.module))

    def each(self, count: int) -> tuple[BlockList, ...]:
        """The description of each of the list's ``count`` blocks: the last one returns no dropped stream."""
        if not self.dropped or not count:
            return (self,) * count
        kept = tuple(stream for stream in self.outputs if stream not in self.dropped)
        return (*(self,) * (count - 1), replace(self, returned=kept))


@dataclass(frozen=True)
class Guidance:
    """How classifier-free guidance shows in the transformer's visits.

    Attributes:
        branches: the branches of one step, in the order of its visits or, if ``doubled``, of its rows.
        scale: call argument that must exceed 1 for the second branch to run, if there is one.
        negatives: call arguments of which one group must be given for it to run; none if empty.
        doubled: whether the branches are the halves of one doubled batch, in one visit.
        unless: entry of the pipeline's own config that keeps the second branch from running.
        embedded: whether checkpoints of the family may embed a scale, which makes no visit of its own.
    """

    branches: tuple[str, ...]
    scale: str | None
    negatives: tuple[tuple[str, ...], ...] = ()
    doubled: bool = False
    unless: str | None = None
    embedded: bool = False

    def visited(self, call: Mapping[str, object]) -> tuple[str, ...]:
        """The branches that a call visits in each step.

        Args:
            call: the call's arguments with the pipeline's defaults, and the pipeline's config.
        """
        scale = call.get(self.scale) if self.scale is not None else None
        given = not self.negatives or any(
            all(call.get(name) is not None for name in group) for group in self.negatives
        )
        return self.guided(call) if isinstance(scale, Real) and float(scale) > 1 and given else ("cond",)

    def guided(self, config: Mapping[str, object]) -> tuple[str, ...]:
        """The branches of a step of a call that asks for guidance; the pipeline may ignore that it does.

        Args:
            config: the pipeline's config.
        """
        return ("cond",) if self.unless is not None and config.get(self.unless) else self.branches


NO_GUIDANCE = Guidance(branches=("cond",), scale=None)
"""One visit a step."""


@dataclass(frozen=True)
class Family:
    """One family of text-to-image transformers.

    Attributes:
        name: the family's name in messages and tables.
        pipelines: diffusers pipeline classes that run it and are tested.
        transformer_class: class of the pipeline's ``transformer``.
        block_lists: the transformer's blocks in execution order.
        guidance: how guidance shows in the visits.
        timestep_argument: argument of the transformer that carries the timestep.
        timestep_scale: that timestep divided by the scheduler's own (FLUX.1 passes t / 1000); a name
            stands for that entry of the transformer's config.
        timestep_offset: timestep that is passed at the scheduler's 0; 1 with a scale below 0 where the
            transformer counts from noise to image.
        token_pixels: edge of an image token in cells of the autoencoder's latent.
        grid_argument: argument of the transformer that tells where image tokens are: latents
            ``[row, channel, y, x]``, ids ``[token, (image, y, x, ...)]`` or shapes ``(frames, y, x)``.
        text_argument: argument of the transformer that carries the text embedding ``[row, token, channel]``.
        text_mask_argument: argument that is 0 where a text token is padding that attention leaves out.
        registers: parameter ``[row, token, channel]`` of the transformer whose tokens go before the text in the
            blocks; they belong to no stream.
        readout: submodule of the transformer that takes the last block's image stream, as a check; None if none does.
        text_padding_kept: whether the padding that ``text_mask_argument`` marks goes through the blocks.
        nominal_cell: pixels of a latent cell that the pipelines' tables of trained sizes count in, whatever the
            autoencoder; None if there are no such tables.
        size_step: pixels of which the pipelines want height and width to be multiples, whatever the autoencoder.
        positions_along_edge: whether the transformer's ``pos_embed_max_size`` counts positions along one edge, and
            not all of a square.
        text_length_varies: whether the number of text tokens depends on the prompt.
        text_encoders: components whose tokens are those of the text stream, one behind the other.
        text_before: tokens of other text encoders that go before the ``max_sequence_length`` ones.
        text_prefix: attribute of the pipeline with the number of tokens that it takes off the front of the encoded
            text, where it then cuts that text to ``max_sequence_length``; None where tokenizers alone cut.
        width: entries of the transformer's config whose product is the number of channels.
        examples: hub ids of checkpoints of this family.
        refused: diffusers pipeline class -> what it does that is not described here.
    """

    name: str
    pipelines: tuple[str, ...]
    transformer_class: str
    block_lists: tuple[BlockList, ...]
    guidance: Guidance
    timestep_argument: str
    timestep_scale: float | str
    token_pixels: int
    grid_argument: str
    text_argument: str = "encoder_hidden_states"
    text_mask_argument: str | None = None
    registers: str | None = None
    readout: str | None = "norm_out"
    text_padding_kept: bool = True
    text_length_varies: bool = False
    text_encoders: tuple[str, ...] = ("text_encoder",)
    text_before: int = 0
    text_prefix: str | None = None
    nominal_cell: int | None = None
    size_step: int = 1
    positions_along_edge: bool = True
    timestep_offset: float = 0.0
    width: tuple[str, ...] = ("num_attention_heads", "attention_head_dim")
    examples: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def called(self, parameters: Collection[str]) -> Family:
        """The family as a pipeline runs it: without guidance where its call has no such parameter for the scale."""
        if not parameters or self.guidance.scale is None or self.guidance.scale in parameters:
            return self
        return replace(self, guidance=replace(NO_GUIDANCE, embedded=self.guidance.embedded))

    def channels(self, config: Mapping[str, Any]) -> int:
        """Number of channels of a transformer of this config."""
        return math.prod(int(config[entry]) for entry in self.width)

    def timestep(self, scheduled: float, config: Mapping[str, Any]) -> float:
        """The timestep that a transformer of this config is passed at one of the scheduler's."""
        scale = self.timestep_scale
        return scheduled * float(config[scale] if isinstance(scale, str) else scale) + self.timestep_offset
