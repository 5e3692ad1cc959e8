"""The front end: one ES module, put together from the core and the panels of the views, and one style sheet.

Nothing is built or fetched: the files in ``static/`` and beside the views are all there is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_STATIC = Path(__file__).parent / "static"


@cache
def module() -> str:
    """The ES module; its default export is ``{render, mount}``, ``render`` being what anywidget calls."""
    from ditscope.explorer.views import VIEWS

    panels = sorted({view.panel for view in VIEWS.values() if view.panel.is_file()})
    parts = [_STATIC / "core.js", _STATIC / "controls.js", *panels, _STATIC / "explorer.js"]
    return "\n".join(path.read_text(encoding="utf-8") for path in parts)


@cache
def style() -> str:
    """The style sheet."""
    return (_STATIC / "explorer.css").read_text(encoding="utf-8")


def page(*, head: str, body: str) -> str:
    """An HTML page with further elements."""
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><title>ditscope explorer</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{head}</head>\n<body>{body}</body></html>\n'
    )
