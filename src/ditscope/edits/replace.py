"""Put given values in place of channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import torch
import xarray as xr

from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit, Where
from ditscope.edits.given_values import given_values, require_values, values_at
from ditscope.edits.own_sample import own_sample
from ditscope.errors import InputError
from ditscope.vocabulary import SITES

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["Replace", "replace"]

_WHAT = "value"
_TOKENS = ("token", "y", "x")


class Replace(Edit):
    """Given values in place of channels: one for each channel, or for each token too."""

    given: xr.DataArray

    channelwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        forms = [("channel",), ("token", "channel"), ("y", "x", "channel")]
        given = given_values(_WHAT, self.given, forms, ("sample", "step", "block"))
        for dim in [dim for dim in _TOKENS if dim in given.indexes]:
            if sorted(given.indexes[dim]) != list(range(given.sizes[dim])):
                raise InputError(
                    f"values with labels {given.indexes[dim].tolist()} of {dim}",
                    "labels from 0 on, each once",
                    "Pass values of the whole stream, and select with tokens=.",
                )
            given = given.sortby(dim)
        object.__setattr__(self, "given", given)
        if set(given.dims) & set(_TOKENS) and not SITES[self.scope.site].has_tokens:
            raise InputError(
                f"values for each token at {self.scope.site}",
                "values [channel]",
                "Modulation is one for all tokens.",
            )
        if self.has_grid and self.scope.stream != "image":
            raise InputError(
                f"values of an image's grid for the {self.scope.stream} stream",
                "the image stream, which has a grid",
                "Pass values [token, channel].",
            )

    @property
    def words(self) -> str:
        """``given values for``."""
        return "given values for"

    @property
    def has_grid(self) -> bool:
        """Whether the values are of an image's grid."""
        return "y" in self.given.dims

    def values(self, context: EditContext) -> torch.Tensor:
        """The given values of the edited tokens and channels."""
        self.check_tokens(context.hidden.shape[1], context.grid)
        ids = context.channels.cpu().numpy()
        found = values_at(_WHAT, self.given, context.block, context.visit.step, ids)
        table = found.values.reshape(found.sizes.get("sample", 1), -1, len(ids))
        if "sample" in found.dims:
            pairs = zip(context.samples, context.positions, strict=True)
            table = table[[own_sample(found, *each, "values") for each in pairs]]
        made = torch.as_tensor(np.ascontiguousarray(table), device=context.old.device)
        return made if table.shape[1] == 1 else made[:, context.tokens]

    def check_tokens(self, n_tokens: int, grid: tuple[int, int] | None) -> None:
        """Refuse values of other tokens than the stream's.

        Raises:
            InputError: another grid or number of tokens.
        """
        found = tuple(self.given.sizes[dim] for dim in _TOKENS if dim in self.given.dims)
        expected = grid if self.has_grid and grid is not None else (n_tokens,)
        if found and found != expected:
            raise InputError(
                f"values of {' x '.join(map(str, found))} tokens",
                f"values of {' x '.join(map(str, expected))}",
                "Take them at the run's own height and width.",
            )

    def check(self, dit: DiT, steps: Sequence[int]) -> None:
        """Refuse, before a run, values that lack a block, a step or a channel of the edit."""
        super().check(dit, steps)
        require_values(_WHAT, self.given, self, dit, steps)

    def check_call(self, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse, before a run, values that lack one of its samples."""
        super().check_call(dit, probe, batches)
        for position, sample in enumerate(chain(*batches) if "sample" in self.given.dims else ()):
            own_sample(self.given, sample, position, "values")


def replace(channels: Any, values: Any, **where: Unpack[Where]) -> Replace:
    """Put given values in place of channels.

    Args:
        channels: a ChannelSet, or channel ids for every block; None for all channels.
        values: ``[channel]``, ``[token, channel]`` or ``[y, x, channel]`` of the whole stream, in the hidden state's
            own unit. An array counts channels from 0; a DataArray goes by its labels, and may have ``sample``, ``step``
            and ``block`` too: a sample's own are found by prompt and seed where it has those, else by position.
        **where: parts of the scope, and ``control``; as for :func:`~ditscope.edits.zero.zero`.

    Raises:
        InputError: other dims, token labels that are not those of a whole stream, tokens of modulation, or an unknown
            or empty part of the scope. Before a run: values of other tokens than the run's, that lack a block, step,
            channel or sample of the edit, or are not finite there.

    Examples:
        >>> values = xr.DataArray([1.0, -1.0], dims="channel", coords={"channel": [3, 77]})
        >>> level = ds.edits.replace([3, 77], values, blocks="single.1")
    """
    return Replace.of(channels, where, given=values)
