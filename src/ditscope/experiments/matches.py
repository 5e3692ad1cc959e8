"""What the channels of controls match of others, and what they reached of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope.channels.channel_set import ChannelSet
from ditscope.edits.own_sample import own_sample

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.experiments.conditions import Condition


def matched_to(condition: Condition) -> str:
    """What a condition's channels, or the norm of its guidance, match of others, in words; "" where nothing does."""
    channels = [edit.channels for edit in condition.edits]
    labels = [each.label for each in channels if each is not None and each.matched]
    norm = "" if condition.guidance is None else condition.guidance.matched_to
    return "; ".join(dict.fromkeys(filter(None, [*labels, norm])))


def match_ratio(
    edits: Sequence[Edit],
    firings: pd.DataFrame,
    samples: Sequence[tuple[Any, Any]],
    positions: Sequence[int],
) -> np.ndarray:
    """What channels that match others reached over what was wanted, ``[sample]``; NaN where nothing is matched.

    Where channels were matched in the run, sums over all places. Channels that were matched on a recording have their
    ratios there: the mean over the places, of the blocks and steps that the ratios tell apart, where the edit fired in
    the sample. NaN too where there are both. A guidance's norm is scaled to be what it matches, and has none.

    Args:
        edits: what was applied, each with one draw.
        firings: of :meth:`ditscope.edits.firings.Firings.table`.
        samples: (prompt, seed) of each sample, the rows of the batch.
        positions: of the samples among all.
    """
    matching = [edit for edit in edits if edit.channels is not None and edit.channels.matched]
    ratio = np.full(len(samples), np.nan)
    recorded = [edit for edit in matching if getattr(edit.channels, "match_ratio", None) is not None]
    if matching and len(recorded) == len(matching):
        for row, own in enumerate(zip(samples, positions, strict=True)):
            fired = firings[firings["row"] == row]
            found = np.concatenate([_recorded_ratios(edit, fired, *own) for edit in recorded])
            # Where nothing was wanted there is no ratio.
            if not np.isnan(found).all():
                ratio[row] = np.nanmean(found)
    elif matching and not recorded:
        live = firings[firings["matched"] != ""]
        # numpy's sum keeps NaN, which pandas' would take for nothing.
        sums = live.groupby("row")[["wanted", "reached"]].agg(lambda part: part.to_numpy().sum())
        ratio[sums.index] = sums["reached"] / sums["wanted"]
    return ratio


def _recorded_ratios(edit: Edit, fired: pd.DataFrame, sample: tuple[Any, Any], position: int) -> np.ndarray:
    """The ratio on the recording at each firing ``[firing]`` of an edit in a sample."""
    chosen = edit.channels
    assert isinstance(chosen, ChannelSet)
    assert chosen.match_ratio is not None
    ratios = chosen.match_ratio
    if "sample" in ratios.dims:
        ratios = ratios.isel(sample=own_sample(ratios, sample, position, "channels"))
    here = fired[(fired["edit"] == edit.label) & (fired["site"] == edit.scope.site)]
    labels: dict[str, pd.Series] = {"step": here["step"]}
    if chosen.blocks is not None:
        by_name = isinstance(chosen.blocks[0], str)
        labels["block"] = here["block_name" if by_name else "block"]
        # Another edit of the same label may be of other blocks.
        labels = {dim: each[labels["block"].isin(chosen.blocks)] for dim, each in labels.items()}
    at = {dim: xr.DataArray(each, dims="firing") for dim, each in labels.items() if dim in ratios.dims}
    return ratios.sel(at).values if at else np.full(len(labels["step"]), ratios.item())
