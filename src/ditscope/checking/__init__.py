"""Does a checkpoint behave as its family says? Held against plain hooks."""

from ditscope.checking.check import check_model
from ditscope.checking.report import Report

__all__ = ["Report", "check_model"]
