"""Channels to hold an edit against: of other ranks, at random, and matched in what the edit does to them.

Frozen from a recording, or live: chosen for every image at every place where the edit acts.
"""

from ditscope.controls.by_rank import bottom, gate_spikes, middle, std_ranked, top, window
from ditscope.controls.drawn import energy_matched, magnitude_matched, random
from ditscope.controls.explicit import explicit
from ditscope.controls.matched import matched

__all__ = [
    "bottom",
    "energy_matched",
    "explicit",
    "gate_spikes",
    "magnitude_matched",
    "matched",
    "middle",
    "random",
    "std_ranked",
    "top",
    "window",
]
