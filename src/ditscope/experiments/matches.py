"""What the channels of controls match of others, and what they reached of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ditscope.channels.channel_set import ChannelSet
from ditscope.edits.edit import Edit


def matched_to(edits: Sequence[Edit]) -> str:
    """What edits that are applied together match of others, in words; "" where they match nothing."""
    labels = [edit.channels.label for edit in edits if edit.channels is not None and edit.channels.matched]
    return "; ".join(dict.fromkeys(labels))


def match_ratio(edits: Sequence[Edit], firings: pd.DataFrame, samples: int) -> np.ndarray:
    """What channels that match others reached over what was wanted, ``[sample]``; NaN where nothing is matched.

    Where channels were matched in the run, sums over all places. Channels that were matched on a recording have their
    ratio there, the mean over blocks; it stands for all samples. NaN too where there are both.

    Args:
        edits: what was applied, each with one draw.
        firings: of :meth:`ditscope.edits.firings.Firings.table`.
        samples: how many samples, the rows of the batch.
    """
    sets = [edit.channels for edit in edits if edit.channels is not None and edit.channels.matched]
    ratio = np.full(samples, np.nan)
    recorded = [
        one.match_ratio for one in sets if isinstance(one, ChannelSet) and one.match_ratio is not None
    ]
    if sets and len(recorded) == len(sets):
        ratio[:] = np.mean([float(one.mean()) for one in recorded])
    elif sets and not recorded:
        live = firings[firings["matched"] != ""]
        # numpy's sum keeps NaN, which pandas' would take for nothing.
        sums = live.groupby("row")[["wanted", "reached"]].agg(lambda part: part.to_numpy().sum())
        ratio[sums.index] = sums["reached"] / sums["wanted"]
    return ratio
