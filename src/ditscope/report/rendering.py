"""The template and what it writes text with. Everything is escaped: a prompt may hold anything."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`\n]+)`")
_STRONG = re.compile(r"\*\*([^*\n]+)\*\*")
# Characters that HTML does not allow even when escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@cache
def environment() -> Environment:
    """Jinja2 with autoescape, and the filters ``inline`` and ``paragraphs`` for prose and ``path`` for links."""
    made = Environment(
        loader=PackageLoader("ditscope.report", "."),
        autoescape=True,
        finalize=_allowed,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"inline": _inline, "paragraphs": _paragraphs, "path": quote}
    return made


def _allowed(value: Any) -> Any:
    return value if isinstance(value, Markup) else _FORBIDDEN.sub("\ufffd", str(value))


def _inline(text: object) -> Markup:
    """Escaped text, with ``code`` in backticks and strong text in double asterisks as the only markup."""
    # Code is cut out first, so that asterisks within it stay.
    parts = [escape(part) for part in _CODE.split(_allowed(str(text)))]
    return Markup("").join(
        Markup("<code>{}</code>").format(part)
        if index % 2
        # As plain text: before Python 3.12 `sub` joins by the text's own type, and Markup escapes what it joins.
        else Markup(_STRONG.sub(r"<strong>\1</strong>", str(part)))
        for index, part in enumerate(parts)
    )


def _paragraphs(text: object) -> Markup:
    """Escaped paragraphs; an empty line starts a new one."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", str(text)) if block.strip()]
    return Markup("\n").join(Markup("<p>{}</p>").format(_inline(block)) for block in blocks)
