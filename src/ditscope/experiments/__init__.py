"""Runs with and without edits, compared."""

from ditscope.experiments.compare import compare
from ditscope.experiments.transport_curve import transport_curve

__all__ = ["compare", "transport_curve"]
