"""What the channels of controls match of others, and what they reached of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ditscope.channels.channel_set import ChannelSet

if TYPE_CHECKING:
    from ditscope.edits.edit import Edit
    from ditscope.experiments.conditions import Condition


def matched_to(condition: Condition) -> str:
    """What a condition's channels, or the norm of its guidance, match of others, in words; "" where nothing does."""
    channels = [edit.channels for edit in condition.edits]
    labels = [each.label for each in channels if each is not None and each.matched]
    norm = "" if condition.guidance is None else condition.guidance.matched_to
    return "; ".join(dict.fromkeys(filter(None, [*labels, norm])))


def match_ratio(edits: Sequence[Edit], firings: pd.DataFrame, samples: int) -> np.ndarray:
    """What channels that match others reached over what was wanted, ``[sample]``; NaN where nothing is matched.

    Where channels were matched in the run, sums over all places. Channels that were matched on a recording have their
    ratio there, the mean over blocks; it stands for all samples. NaN too where there are both. A guidance's norm is
    scaled to be what it matches, and has none.

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
