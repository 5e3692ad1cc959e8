"""Runs with and without edits, compared."""

from ditscope.experiments.compare import compare

__all__ = ["compare"]
