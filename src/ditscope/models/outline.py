"""A model from its configuration alone: blocks, width and token grid, without weights.

The transformer is built on torch's meta device, so that the blocks are those that the library makes of
the configuration, and no memory is taken.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from ditscope.errors import InputError, found_expected
from ditscope.models.families import family_of
from ditscope.models.family import Family
from ditscope.models.loading import pipeline_config, source_of
from ditscope.models.pipeline import call_defaults


@dataclass(frozen=True)
class Outline:
    """What a pipeline's configuration says.

    Attributes:
        name: what it was opened by.
        family: what is known of this kind of transformer.
        blocks: (name, kind) of every block in execution order.
        width: number of channels.
        latent_channels: channels of a latent cell, or of a packed latent token.
        packed: whether latents come as tokens.
        vae_pixels: image pixels along one edge of a latent cell.
        facts: the pipeline's config and its call's defaults.
    """

    name: str
    family: Family
    blocks: tuple[tuple[str, str], ...]
    width: int
    latent_channels: int
    packed: bool
    vae_pixels: int
    facts: Mapping[str, Any]

    def branches(self, guided: bool | None = None) -> tuple[str, ...]:
        """The branches of a step; None for what a call without arguments of its own visits."""
        if guided is None:
            return self.family.guidance.visited(self.facts)
        return self.family.guidance.branches if guided else ("cond",)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the image stream in tokens, for an image of so many pixels.

        Raises:
            InputError: the image is smaller than a token.
        """
        edge = self.vae_pixels * self.family.token_pixels
        if min(height, width) < edge:
            raise InputError(
                found_expected(f"an image of {height} x {width}", f"at least {edge} pixels", "Enlarge it.")
            )
        return height // edge, width // edge

    @property
    def token_latent_channels(self) -> int:
        """Channels of a latent token."""
        return self.latent_channels * (1 if self.packed else self.family.token_pixels**2)


def outline(name: str, revision: str | None = None) -> Outline:
    """Read a pipeline's configuration.

    Args:
        name: ``"shapes"``, a pipeline folder, or a hub id, of which only configurations are fetched.
        revision: of a hub id.

    Raises:
        InputError: there is no pipeline of that name.
        UnsupportedError: no family is known for the pipeline's class.
    """
    source = source_of(name)
    index = pipeline_config(source, revision)
    family = family_of(index["_class_name"])

    def config_of(part: str) -> Mapping[str, Any]:
        library_class = getattr(diffusers, index[part][1])
        return library_class.load_config(source, subfolder=part, revision=revision)

    transformer = config_of("transformer")
    parameters = inspect.signature(getattr(diffusers, index["_class_name"]).__call__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return outline_of(
        family,
        transformer,
        vae_pixels=_vae_pixels(config_of("vae")),
        name=name,
        facts={**index, **defaults, **call_defaults(source)},
    )


def outline_of(
    family: Family,
    transformer: Mapping[str, Any],
    *,
    vae_pixels: int,
    name: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Outline:
    """The outline of a family's transformer of this configuration."""
    with torch.device("meta"), _quiet():
        model = getattr(diffusers, family.transformer_class).from_config(dict(transformer))
    blocks = tuple(
        (f"{layout.kind}.{position}", layout.kind)
        for layout in family.block_lists
        for position in range(len(getattr(model, layout.path)))
    )
    config = model.config
    return Outline(
        name=name,
        family=family,
        blocks=blocks,
        width=family.channels(config),
        latent_channels=int(config.in_channels),
        packed=family.grid_argument != "hidden_states",
        vae_pixels=vae_pixels,
        facts=facts or {},
    )


def _vae_pixels(config: Mapping[str, Any]) -> int:
    """Image pixels along one edge of a latent cell: every level but the first halves the image."""
    for levels in ("encoder_block_out_channels", "block_out_channels"):
        if levels in config:
            return 2 ** (len(config[levels]) - 1)
    return 2 ** len(config["temperal_downsample"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without diffusers' remarks on configuration entries that it does not use."""
    before = diffusers.logging.get_verbosity()
    diffusers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        diffusers.logging.set_verbosity(before)
