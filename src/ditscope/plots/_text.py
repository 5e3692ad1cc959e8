"""Words on a figure: measured, wrapped, and never mistaken for mathematics."""

from __future__ import annotations

import functools
import warnings

from matplotlib import font_manager

# By name, because in many fonts they look like other characters.
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
TIMES, SIGMA = "\N{MULTIPLICATION SIGN}", "\N{GREEK SMALL LETTER SIGMA}"

# Prompts come in many scripts. DejaVu Sans is always there (matplotlib ships it); these are used for
# the glyphs it lacks where the machine has them.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)
_MEASURED_AT = 64.0
_MISSING = 1.15  # em: the box that matplotlib draws for a glyph no font has


@functools.cache
def font_families() -> list[str]:
    """DejaVu Sans, then the installed fallbacks for other scripts."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


def literal(text: object) -> str:
    """The text such that matplotlib draws every dollar sign instead of starting mathematics."""
    return str(text).replace("$", r"\$")


def width(text: str, size: float, weight: str = "normal") -> float:
    """Width of one line of text in inches at ``size`` points."""
    return sum(_advance(character, weight) for character in text) * size / 72.0


def wrap(
    text: object, inches: float, size: float, *, weight: str = "normal", lines: int | None = None
) -> str:
    """Break text into lines no wider than ``inches``; beyond ``lines`` it ends in an ellipsis.

    Existing line breaks stay. A word wider than the line is broken inside, so text without spaces
    (Chinese, a path) wraps too.
    """
    rows: list[str] = []
    for paragraph in str(text).splitlines() or [""]:
        row = ""
        for word in paragraph.split():
            joined = f"{row} {word}" if row else word
            if width(joined, size, weight) <= inches:
                row = joined
                continue
            if row:
                rows.append(row)
            row = word
            while width(row, size, weight) > inches and len(row) > 1:
                cut = max(_fitting(row, inches, size, weight), 1)
                rows.append(row[:cut])
                row = row[cut:]
        rows.append(row)
    if lines is not None and len(rows) > lines:
        last = rows[lines - 1]
        while last and width(last + "…", size, weight) > inches:
            last = last[:-1]
        rows = [*rows[: lines - 1], last.rstrip() + "…"]
    return "\n".join(rows)


def _fitting(word: str, inches: float, size: float, weight: str) -> int:
    """How many leading characters of a word fit the line."""
    total = 0.0
    for count, character in enumerate(word):
        total += _advance(character, weight) * size / 72.0
        if total > inches:
            return count
    return len(word)


@functools.cache
def _font(weight: str) -> font_manager.FontProperties:
    return font_manager.FontProperties(family="DejaVu Sans", weight=weight)


@functools.lru_cache(maxsize=8192)
def _advance(character: str, weight: str) -> float:
    """A character's advance in em; a box's for what the font lacks, which no fallback exceeds."""
    font = font_manager.get_font(font_manager.findfont(_font(weight)))
    if not font.get_char_index(ord(character)):
        return _MISSING
    font.set_size(_MEASURED_AT, 72.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        glyph = font.load_char(ord(character))
    return float(glyph.linearHoriAdvance) / 65536.0 / _MEASURED_AT
