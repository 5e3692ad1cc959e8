"""Whole studies: a claim, its design and controls, and a report of what was found."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"FirstLook": "first_look", "run_first_look": "first_look"})
