"""Does a checkpoint behave as its family says? And what does a pipeline without a family show?"""

from ditscope.checking.check import check_model
from ditscope.checking.explore import Exploration, explore
from ditscope.checking.report import CheckReport, Finding

__all__ = ["CheckReport", "Exploration", "Finding", "check_model", "explore"]
