"""Traced runs of a pipeline."""

from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

__all__ = ["probe", "run_traced"]
