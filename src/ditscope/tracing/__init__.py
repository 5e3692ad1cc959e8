"""Traced runs of a pipeline: probing, reading, checking."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"Report": "report", "check_model": "check", "probe": "probe", "run_traced": "run"},
)
