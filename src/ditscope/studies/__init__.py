"""Whole studies: a claim, its design and controls, and a report of what was found."""

from ditscope.studies.first_look import FirstLook, run_first_look

__all__ = ["FirstLook", "run_first_look"]
