"""Runs with and without edits, compared, and swept over grids."""

from ditscope.experiments.compare import compare
from ditscope.experiments.grid import grid
from ditscope.experiments.sweep import open_sweep, sweep
from ditscope.experiments.transport_curve import transport_curve

__all__ = ["compare", "grid", "open_sweep", "sweep", "transport_curve"]
