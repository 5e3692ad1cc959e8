"""A model from its configuration alone: blocks, width and token grid, without weights.

The transformer is built on torch's meta device, so that the blocks are those that the library makes of
the configuration, and no memory is taken.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.families import family_of, known_families
from ditscope.models.family import BlockList, Family
from ditscope.models.loading import named_class, pipeline_config, source_of, transformer_class
from ditscope.models.pipeline_call import call_defaults, signature_defaults
from ditscope.models.published import PUBLISHED
from ditscope.models.sizes import Sizes, is_binned


@dataclass(frozen=True)
class ConfiguredBlock:
    """A block's address.

    Attributes:
        index: position in execution order, over all block lists.
        name: as in labels, such as ``single.5``.
        layout: how it takes and returns its streams.
    """

    index: int
    name: str
    layout: BlockList

    @property
    def kind(self) -> str:
        """The kind of block, such as ``double`` or ``single``."""
        return self.layout.kind


@dataclass(frozen=True)
class ModelConfiguration:
    """What a pipeline's configuration says.

    Attributes:
        name: what it was opened by.
        family: what is known of this kind of transformer.
        blocks: every block in execution order.
        width: hidden width: the number of channels.
        parameters: of the transformer.
        latent_channels: channels of a latent cell, or of a packed latent token.
        packed: whether latents come as tokens.
        vae_pixels: image pixels along one edge of a latent cell.
        sizes: the sizes that the pipeline generates at.
        full_call: the call's arguments by default, and the entries of the pipeline's config.
    """

    name: str
    family: Family
    blocks: tuple[ConfiguredBlock, ...]
    width: int
    parameters: int
    latent_channels: int
    packed: bool
    vae_pixels: int
    sizes: Sizes
    full_call: Mapping[str, Any]

    @property
    def token_latent_channels(self) -> int:
        """Channels of a latent token."""
        return self.latent_channels * (1 if self.packed else self.family.token_pixels**2)

    @property
    def text_tokens(self) -> int | None:
        """The most text tokens of a call that does not set their number; None where its class does not say it."""
        longest = self.full_call.get("max_sequence_length")
        return None if longest is None else int(longest) + self.family.text_before

    def size(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """(height, width) in pixels of a call; what is left out is the folder's own, or the published 1024."""
        own = (self.full_call.get("height"), self.full_call.get("width"))
        return (height or own[0] or _PUBLISHED_PIXELS, width or own[1] or _PUBLISHED_PIXELS)

    def branches(self, guided: bool | None = None) -> tuple[str, ...]:
        """The branches of a step.

        Args:
            guided: whether the call asks for classifier-free guidance, which a distilled checkpoint ignores;
                None for what a call without arguments of its own does.
        """
        guidance = self.family.guidance
        if guided is None:
            return guidance.visited(self.full_call)
        return guidance.guided(self.full_call) if guided else ("cond",)

    def grid(self, height: int, width: int, binned: bool | None = None) -> tuple[int, int]:
        """(height, width) of the image stream in tokens, for an image of so many pixels.

        Args:
            height: of the image in pixels.
            width: of the image in pixels.
            binned: whether it is generated at the nearest trained size; None for the pipeline's default.

        Raises:
            InputError: the pipeline does not accept the size.
            UnsupportedError: the pipeline has no trained sizes to choose from.
        """
        rows, columns = self.sizes.generated(height, width, binned=self._is_binned(binned))
        return rows // self.sizes.token_pixels, columns // self.sizes.token_pixels

    def image_size(self, height: int, width: int, binned: bool | None = None) -> tuple[int, int]:
        """(height, width) in pixels of the final image; arguments and errors as of :meth:`grid`."""
        generated = self.sizes.generated(height, width, binned=self._is_binned(binned))
        return (height, width) if self._is_binned(binned) else generated

    def _is_binned(self, binned: bool | None) -> bool:
        return is_binned(self.full_call) if binned is None else binned


_PUBLISHED_PIXELS = 1024


def read_configuration(name: str, revision: str | None = None) -> ModelConfiguration:
    """A pipeline's configuration, read without its weights.

    Args:
        name: ``"shapes"``, a pipeline folder, or a hub id, of which only configurations are fetched; those of
            :data:`ditscope.models.published.PUBLISHED`, unless a revision is named, are known without the network.
        revision: of a hub id.

    Raises:
        InputError: there is no pipeline of that name, or it is not whole.
        UnsupportedError: no family is known for the pipeline's class, or its autoencoder is of an unknown kind.
    """
    source = source_of(name)
    if source in PUBLISHED and revision is None:
        known = PUBLISHED[source]
        family = next(family for family in known_families() if source in family.examples)
        return configuration_of(
            family,
            known.transformer,
            vae_pixels=known.vae_pixels,
            name=name,
            pipeline=known.pipeline,
            full_call=known.index,
        )
    index = pipeline_config(source, revision)
    family = family_of(index["_class_name"], transformer_class(index))
    pipeline = named_class(index).__name__

    def config_of(part: str) -> Mapping[str, Any]:
        library_class = getattr(diffusers, (index.get(part) or (None, None))[1] or "", None)
        if library_class is None:
            raise InputError(
                f"{name!r} without a {part} of diffusers",
                "a pipeline with a transformer and an autoencoder",
                "Name a whole pipeline.",
            )
        return library_class.load_config(source, subfolder=part, revision=revision)

    return configuration_of(
        family,
        config_of("transformer"),
        vae_pixels=latent_cell_pixels(config_of("vae")),
        name=name,
        pipeline=pipeline,
        full_call={**index, **call_defaults(source)},
    )


def configuration_of(
    family: Family,
    transformer: Mapping[str, Any],
    *,
    vae_pixels: int,
    name: str = "",
    pipeline: str | None = None,
    full_call: Mapping[str, Any] | None = None,
) -> ModelConfiguration:
    """What follows from a configuration of a family's transformer.

    Args:
        family: what is known of this kind of transformer.
        transformer: its configuration; what is left out is as the library has it.
        vae_pixels: image pixels along one edge of a latent cell.
        name: what to call it.
        pipeline: class of the pipeline; by default the family's first.
        full_call: the pipeline's config, and call arguments that differ from its class's defaults.
    """
    pipeline = pipeline or family.pipelines[0]
    with torch.device("meta"), _quiet():
        model = getattr(diffusers, family.transformer_class).from_config(dict(transformer))
    layouts = [
        (f"{layout.kind}.{position}", layout)
        for described in family.block_lists
        for position, layout in enumerate(described.each(len(getattr(model, described.path))))
    ]
    config = model.config
    packed = family.grid_argument != "hidden_states"
    positions = config.get("pos_embed_max_size")
    if positions is not None and not family.positions_along_edge:
        positions = math.isqrt(positions)
    return ModelConfiguration(
        name=name,
        family=family,
        blocks=tuple(ConfiguredBlock(index, *named) for index, named in enumerate(layouts)),
        width=family.channels(config),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        latent_channels=int(config.in_channels),
        packed=packed,
        vae_pixels=vae_pixels,
        sizes=Sizes(
            pipeline,
            nominal_cell=family.nominal_cell,
            step=family.size_step,
            token_pixels=vae_pixels * family.token_pixels,
            rounds=packed,
            sample_size=config.get("sample_size"),
            most_tokens=positions,
        ),
        full_call={**signature_defaults(getattr(diffusers, pipeline)), **(full_call or {})},
    )


def latent_cell_pixels(autoencoder: Mapping[str, Any]) -> int:
    """Image pixels along one edge of a latent cell, from an autoencoder's configuration.

    Raises:
        UnsupportedError: it does not say how often the image is halved.
    """
    for levels in ("encoder_block_out_channels", "block_out_channels"):
        if levels in autoencoder:  # every level but the first halves the image
            return 2 ** (len(autoencoder[levels]) - 1)
    if "temperal_downsample" in autoencoder:  # diffusers' spelling; one entry for each halving
        return 2 ** len(autoencoder["temperal_downsample"])
    raise UnsupportedError(
        f"an autoencoder of class {autoencoder.get('_class_name')} with entries {', '.join(autoencoder)}",
        "block_out_channels, encoder_block_out_channels or temperal_downsample",
        "Give configuration_of() vae_pixels=.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without diffusers' remarks on configuration entries that it does not use."""
    before = diffusers.logging.get_verbosity()
    diffusers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        diffusers.logging.set_verbosity(before)
