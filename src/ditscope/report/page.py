"""The report builder: sections with prose, figures, tables and findings, written as one HTML page.

The page holds all it needs (style, images) and asks for nothing: it can be mailed, archived, opened
without a network, read on a phone and printed. The same input gives the same bytes: no date is
written unless the provenance holds one.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.plots._sheet import DPI, png
from ditscope.report.markup import escape, frame, inline, paragraphs, table_rows

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class _Picture:
    """A figure as it is embedded and written."""

    name: str
    data: bytes
    width: int
    height: int


class Report:
    """One self-contained page, built section by section.

    ```python
    report = Report("First look", "What a few channels do in the shapes pipeline")
    section = report.section("Magnitude")
    section.figure(plots.channel_magnitude(ranking), "A few channels lead in all blocks.", name="magnitude")
    section.finding("Three channels lead.", means="...", does_not_mean="...")
    report.provenance({"model": "shapes", "seeds": [0, 1], "command": "ditscope demo"})
    report.write("out")
    ```
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        if not isinstance(title, str) or not title.strip():
            raise InputError(repr(title), "a title", "Say in a few words what the report is about.")
        self.title, self.subtitle = title, subtitle
        self.sections: list[Section] = []
        self._numbers: list[tuple[str, str]] = []
        self._provenance: list[tuple[str, object]] = []
        self._pictures: dict[str, _Picture] = {}
        self._tables = 0

    def section(self, title: str) -> Section:
        """Start a section; it is numbered and listed in the contents."""
        section = Section(self, title, len(self.sections) + 1)
        self.sections.append(section)
        return section

    def key_number(self, value: object, label: str) -> Report:
        """Show one number large under the title, such as ``key_number("0.86", "IoU with the reference")``."""
        self._numbers.append((str(value), label))
        return self

    def provenance(self, facts: Mapping[str, object]) -> Report:
        """Add rows to the closing table: model, versions, seeds, commands; mappings and lists are spread."""
        self._provenance += list(facts.items())
        return self

    def html(self) -> str:
        """The page."""
        style = resources.files("ditscope.report").joinpath("style.css").read_text(encoding="utf-8")
        entries = [(section.anchor, section.title) for section in self.sections]
        if self._provenance:
            entries.append(("provenance", "Provenance"))
        contents = "\n".join(f'<li><a href="#{anchor}">{escape(title)}</a></li>' for anchor, title in entries)
        subtitle = f'<p class="subtitle">{inline(self.subtitle)}</p>' if self.subtitle else ""
        numbers = "".join(
            f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for value, label in self._numbers
        )
        body = "\n".join(section.html() for section in self.sections)
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="generator" content="ditscope">
<title>{escape(self.title)}</title>
<style>
{style}</style>
</head>
<body>
<div class="page">
<header>
<h1>{escape(self.title)}</h1>
{subtitle}
{f'<dl class="numbers">{numbers}</dl>' if numbers else ""}
</header>
<nav aria-label="Contents"><div class="inner"><h2>Contents</h2>
<ol>
{contents}
</ol></div></nav>
<main>
{body}
{self._provenance_html()}
</main>
<footer>Made with ditscope. This page holds all it shows; its figures also lie beside it as PNG.</footer>
</div>
</body>
</html>
"""

    def write(self, folder: str | os.PathLike[str], *, name: str = "report.html") -> Path:
        """Write the page and its figures.

        Args:
            folder: made if it is not there; each figure is written to it as ``<name>.png``.
            name: file name of the page.

        Returns:
            The page's path.

        Raises:
            InputError: the report is empty, or ``folder`` is a file.
        """
        target = Path(folder)
        if not self.sections:
            raise InputError("a report without sections", "at least one", "Call report.section(title).")
        if target.exists() and not target.is_dir():
            raise InputError(f"a file at {target}", "a folder, or nothing", "Choose another folder.")
        files = {f"{picture.name}.png": picture.data for picture in self._pictures.values()}
        files[name] = self.html().encode("utf-8")
        target.mkdir(parents=True, exist_ok=True)
        for file_name, data in files.items():
            partial = target / f"{file_name}.partial"
            partial.write_bytes(data)
            os.replace(partial, target / file_name)
        return target / name

    def _add_picture(self, figure: Figure, name: str | None) -> _Picture:
        if not isinstance(figure, Figure):
            raise InputError(type(figure).__name__, "a matplotlib Figure", "Pass what a plot returned.")
        name = name or f"figure-{len(self._pictures) + 1}"
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the figure name {name!r}", "lower-case letters, digits, - and _", "Pass a plain name."
            )
        if name in self._pictures:
            raise InputError(f"a second figure named {name!r}", "names used once", "Pass another name.")
        data = png(figure)
        # PNG states its size in pixels at bytes 16 to 24; shown at 96 per inch it has its size on paper.
        wide, high = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
        picture = _Picture(name, data, round(wide * 96 / DPI), round(high * 96 / DPI))
        self._pictures[name] = picture
        return picture

    def _provenance_html(self) -> str:
        if not self._provenance:
            return ""
        rows = "\n".join(
            f'<tr><th scope="row">{escape(key)}</th><td>{escape(_spread(value))}</td></tr>'
            for key, value in self._provenance
        )
        return (
            '<section id="provenance" class="provenance">\n<h2>Provenance</h2>\n'
            f'<div class="scroll"><table>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n</section>'
        )


class Section:
    """A part of a report. Every method appends, and gives the section back."""

    def __init__(self, report: Report, title: str, number: int) -> None:
        self.title, self.number, self.anchor = title, number, f"section-{number}"
        self._report = report
        self._parts: list[str] = []

    def text(self, text: str) -> Section:
        """Prose: an empty line starts a paragraph; `` `code` `` and ``**strong**`` are the only markup."""
        self._parts.append(paragraphs(text))
        return self

    def code(self, text: str) -> Section:
        """Commands or code, as they are."""
        self._parts.append(f"<pre><code>{escape(text.strip())}</code></pre>")
        return self

    def figure(self, figure: Figure, caption: str, *, name: str | None = None) -> Section:
        """A figure with its caption; also written as ``<name>.png``.

        Raises:
            InputError: not a figure, or a name that is taken or not plain.
        """
        picture = self._report._add_picture(figure, name)
        count = len(self._report._pictures)
        data = base64.b64encode(picture.data).decode("ascii")
        self._parts.append(
            f'<figure id="figure-{count}">\n'
            f'<img src="data:image/png;base64,{data}" width="{picture.width}" height="{picture.height}" '
            f'alt="{escape(caption)}">\n'
            f"<figcaption><b>Figure {count}.</b> {inline(caption)}</figcaption>\n</figure>"
        )
        return self

    def table(self, table: Any, caption: str = "", *, digits: int = 3) -> Section:
        """A table with its caption above.

        Args:
            table: a DataFrame (a named index becomes columns), a Dataset or DataArray (one row per
                cell), or a list of mappings.
            caption: what it shows.
            digits: significant digits of numbers that are not whole.

        Raises:
            InputError: it is none of these.
        """
        rows = table_rows(frame(table), digits)
        self._report._tables += 1
        count = self._report._tables
        name = f"table-{count}"
        head = f'<p class="caption" id="{name}-caption"><b>Table {count}.</b> {inline(caption)}</p>\n'
        label = f' aria-labelledby="{name}-caption"' if caption else ""
        self._parts.append(
            f'<div class="table" id="{name}">\n{head if caption else ""}'
            f'<div class="scroll"><table{label}>\n{rows}\n</table></div>\n</div>'
        )
        return self

    def finding(self, statement: str, means: str, does_not_mean: str) -> Section:
        """One finding in a box, with what it means beside what it does not mean."""
        self._parts.append(
            f'<div class="finding"><p class="statement">{inline(statement)}</p>\n<div class="sides">\n'
            f'<div class="means"><h3>What it means</h3>{paragraphs(means)}</div>\n'
            f'<div class="means-not"><h3>What it does not mean</h3>{paragraphs(does_not_mean)}</div>\n'
            "</div></div>"
        )
        return self

    def html(self) -> str:
        """The section as HTML."""
        body = "\n".join(self._parts)
        heading = f'<h2><span class="number">{self.number}</span>{escape(self.title)}</h2>'
        return f'<section id="{self.anchor}">\n{heading}\n{body}\n</section>'


def _spread(value: object, depth: int = 0) -> str:
    """A provenance value as text: mappings line by line, short lists on one line."""
    if isinstance(value, Mapping):
        lines = [f"{key}: {_spread(item, depth + 1)}" for key, item in value.items()]
        return ("\n" + "\n".join("  " * depth + line for line in lines)) if depth else "\n".join(lines)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        texts = [_spread(item, depth + 1) for item in value]
        # Prompts and commands read better one to a line; seeds on one.
        return "\n".join(texts) if any(len(text) > 24 for text in texts) else ", ".join(texts)
    return str(value)
