"""What a recording keeps: streams, sites, blocks, steps, branches and channels, checked against a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ditscope import checks
from ditscope.cache.schema import BlockSpec, Schema, StepSpec, StoredSite, StreamSpec, TrajectorySpec
from ditscope.checks import Address, find_blocks
from ditscope.errors import InputError
from ditscope.models.block_streams import require_stream
from ditscope.recording.token_choice import TokenChoice, token_choice
from ditscope.vocabulary import BRANCHES

if TYPE_CHECKING:
    from ditscope.models.configuration import ModelConfiguration
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Schedule


@dataclass(frozen=True)
class Selection:
    """What to keep; ``steps`` and ``branches`` are settled when the call is known.

    Attributes:
        streams: ``image``, ``text``.
        sites: in the order in which a block passes them.
        places: (stream, site) -> indices of the blocks that it is kept of, in execution order.
        steps: step indices, negative ones counting from the last; None for all.
        branches: ``cond``, ``uncond``; None for those that the call visits.
        channels: channel ids in increasing order.
        tokens: which tokens of the image have their hidden states kept; None for all.
    """

    streams: tuple[str, ...]
    sites: tuple[str, ...]
    places: Mapping[tuple[str, str], tuple[int, ...]] = field(hash=False)
    steps: tuple[int, ...] | None
    branches: tuple[str, ...] | None
    channels: tuple[int, ...]
    tokens: TokenChoice | None = None

    @classmethod
    def of(
        cls,
        model: DiT | ModelConfiguration,
        *,
        streams: Iterable[str] = ("image",),
        sites: Iterable[str] = ("block_output",),
        blocks: Address | Iterable[Address] | None = None,
        steps: Iterable[int] | None = None,
        branches: Iterable[str] | None = None,
        channels: Iterable[int] | None = None,
        tokens: int | Iterable[int] | Any = None,
    ) -> Selection:
        """Check a selection against a model.

        Args:
            model: the model, or its configuration.
            streams: ``image``, ``text`` or both.
            sites: names of sites.
            blocks: indices, names (``single.5``) or kinds (``single``) of blocks, which must have every site and
                stream; None for all, where each site and stream is kept of the blocks that have it.
            steps: step indices, negative ones counting from the last; None for all.
            branches: ``cond``, ``uncond``; None for those that the call visits.
            channels: channel ids; None for all.
            tokens: as of :func:`ditscope.recording.token_choice.token_choice`.

        Returns:
            The selection, with blocks and channels settled and everything in order.

        Raises:
            InputError: a name or number that the model does not have.
            UnsupportedError: a site or stream that a named block lacks, or every block.
        """
        chosen = find_blocks(model.blocks, blocks)
        checked_streams, checked_sites = checks.streams(streams), checks.sites(sites)
        places = {}
        for stream in checked_streams:
            for site in checked_sites:
                layouts = {block.index: model.blocks[block.index].layout for block in chosen}
                own = tuple(index for index, layout in layouts.items() if stream in layout.streams(site))
                if len(own) < len(layouts) and (blocks is not None or not own):
                    require_stream(
                        next(layout for i, layout in layouts.items() if i not in own), stream, site
                    )
                places[stream, site] = own
        return cls(
            streams=checked_streams,
            sites=checked_sites,
            places=places,
            steps=None if steps is None else checks.whole_numbers("steps", steps),
            branches=None if branches is None else checks.branches(branches),
            channels=_channels(model.width, channels),
            tokens=None if tokens is None else token_choice(tokens, checked_streams),
        )

    def settled_steps(self, schedule: Schedule) -> tuple[int, ...]:
        """The steps to keep of a schedule, in order.

        Raises:
            InputError: a step that the schedule does not have.
        """
        return tuple(checks.find_steps(schedule.steps, self.steps))

    def settled_branches(self, schedule: Schedule) -> tuple[str, ...]:
        """The branches to keep of a schedule, ``cond`` before ``uncond``.

        Raises:
            InputError: a branch that the call does not visit.
        """
        if self.branches is None:
            return tuple(branch for branch in BRANCHES if branch in schedule.branches)
        for branch in self.branches:
            if branch not in schedule.branches:
                raise InputError(
                    f"branch {branch!r} in a call that visits {', '.join(schedule.branches)}",
                    "a branch that is visited",
                    "Switch guidance on, or leave branches= out.",
                )
        return self.branches

    def schema(
        self,
        model: DiT | ModelConfiguration,
        schedule: Schedule,
        *,
        tokens: Mapping[str, int],
        grid: tuple[int, int],
        latent_channels: int,
        image_size: tuple[int, int] | None,
        **more: Any,
    ) -> Schema:
        """The schema of a store that keeps this.

        Args:
            model: the model that the selection was checked against.
            schedule: steps and branches of the call.
            tokens: stream -> number of tokens.
            grid: (height, width) of the image stream in tokens.
            latent_channels: channels of a latent token.
            image_size: (height, width) of the image in pixels; None to keep no images.
            **more: further fields of :class:`~ditscope.cache.schema.Schema`.

        Raises:
            InputError: a step or branch that the call does not visit, or a field that cannot be used.
        """
        run = tuple(
            StepSpec(*step) for step in zip(schedule.steps, schedule.sigmas, schedule.timesteps, strict=True)
        )
        kept = self.settled_steps(schedule)
        chosen = {} if self.tokens is None else self.tokens.fields(grid)
        indices = sorted({index for own in self.places.values() for index in own})
        return Schema(
            streams=tuple(
                StreamSpec(stream, tokens[stream], *grid, **chosen)
                if stream == "image"
                else StreamSpec(stream, tokens[stream])
                for stream in self.streams
            ),
            sites=tuple(
                StoredSite.of(stream, site, own, more["dtype"]) for (stream, site), own in self.places.items()
            ),
            blocks=tuple(
                BlockSpec(block.index, block.name, block.kind)
                for block in (model.blocks[index] for index in indices)
            ),
            steps=tuple(step for step in run if step.index in kept),
            branches=self.settled_branches(schedule),
            channels=self.channels,
            width=model.width,
            trajectory=TrajectorySpec(run, grid[0] * grid[1], latent_channels),
            image_height=image_size and image_size[0],
            image_width=image_size and image_size[1],
            **more,
        )


def _channels(width: int, channels: Iterable[int] | None) -> tuple[int, ...]:
    if channels is None:
        return tuple(range(width))
    ids = tuple(sorted(set(checks.whole_numbers("channels", channels))))
    if ids[0] < 0 or ids[-1] >= width:
        raise InputError(
            f"channels {ids[0]} to {ids[-1]}",
            f"channels 0 to {width - 1}",
            "Pass channels that the model has.",
        )
    return ids
