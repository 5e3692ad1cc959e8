"""Rows of names and values as text and as HTML: what every repr is made of."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

Rows = Sequence[Sequence[str]]

_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text whose control characters, and what no terminal has a sign for, are written out; line ends and tabs stay."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def text_table(title: str, rows: Rows) -> str:
    """A title and, below it, one line a row, with the first column padded to one width; see :func:`printable`."""
    width = max((len(row[0]) for row in rows), default=0)
    return printable(
        "\n".join([title, *(f"  {row[0]:<{width}}  {'  '.join(row[1:])}".rstrip() for row in rows)])
    )


def html_table(title: str, rows: Rows, head: Sequence[str] = ()) -> str:
    """The same as an HTML table; everything is escaped, since a store's words may be a stranger's."""
    lines = [_row(head, "th")] if head else []
    lines += [_row(row, "td") for row in rows]
    return f"<table><caption>{html.escape(title)}</caption>{''.join(lines)}</table>"


def first_rows(rows: list[tuple[str, str]], most: int, what: str) -> list[tuple[str, str]]:
    """At most ``most`` rows, the last of them saying how many more there are of ``what``."""
    return rows if len(rows) <= most else [*rows[: most - 1], ("...", f"{len(rows) - most + 1} more {what}")]


def quoted(texts: Iterable[str], most: int = 3, length: int = 60) -> str:
    """Some of the texts, each cut short, as a message names them."""
    texts = list(texts)
    shown = [repr(text if len(text) <= length else f"{text[:length]}...") for text in texts[:most]]
    return ", ".join(shown) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _row(cells: Sequence[str], tag: str) -> str:
    inner = "".join(f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"
