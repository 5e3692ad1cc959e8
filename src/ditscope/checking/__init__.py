"""Does a checkpoint behave as its family says? Compared with plain hooks; and what a pipeline without a family shows."""

from ditscope.checking.check import check_model
from ditscope.checking.explore import Exploration, explore
from ditscope.checking.report import CheckReport, Finding

__all__ = ["CheckReport", "Exploration", "Finding", "check_model", "explore"]
