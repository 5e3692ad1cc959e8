"""A report: one self-contained HTML page with its figures beside it as PNG."""

from __future__ import annotations

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"Report": "page", "Section": "page"})
