"""A report: one self-contained HTML page with its figures beside it as PNG."""

from ditscope.report.page import Report, Section

__all__ = ["Report", "Section"]
