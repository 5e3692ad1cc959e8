"""The report as data: sections with prose, figures, tables and findings, written as one HTML page.

The page holds all it needs (style, images) and asks for nothing: it can be mailed, archived, opened
without a network, read on a phone and printed. Figures are SVG, whose greys follow the reader's theme: that is a fifth
more than one PNG, where a second, dark one would be as much again. The same input gives the same bytes: no date is
written unless the provenance holds one.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ditscope._version import described
from ditscope.errors import InputError
from ditscope.paths import local_path
from ditscope.plots._sheet import DPI, png, svg
from ditscope.report.drawing_code import code_of_figure
from ditscope.report.formatting import columns, spread
from ditscope.report.rendering import environment

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Part(NamedTuple):
    """What a section is made of: text, code, a figure, a table, a finding, an explorer or columns of these; and what
    the template shows of it.
    """

    kind: str
    shown: Mapping[str, Any]


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

    Attributes:
        title: what the report is about.
        subtitle: a line below it.
        sections: in order.
        key_numbers: pairs of value and label, shown large under the title.
        origins: rows of the closing table, pairs of name and text.
        files: what lies beside the page: pairs of what it is and its name.
        opening: Python before the code of each figure, which opens what is drawn.
    """

    def __init__(self, title: str, subtitle: str = "", *, opening: str = "") -> None:
        if not isinstance(title, str) or not title.strip():
            raise InputError(repr(title), "a title", "Say in a few words what the report is about.")
        self.title, self.subtitle = title, subtitle
        self.sections: list[Section] = []
        self.key_numbers: list[tuple[str, str]] = []
        self.origins: list[tuple[str, str]] = []
        self.files: list[tuple[str, str]] = []
        self.opening = opening

    def section(self, title: str) -> Section:
        """Start a section; it is numbered and listed in the contents."""
        self.sections.append(Section(self, title, len(self.sections) + 1))
        return self.sections[-1]

    def key_number(self, value: object, label: str) -> Report:
        """Show one number large under the title, such as ``key_number("0.86", "IoU with the reference")``."""
        self.key_numbers.append((str(value), label))
        return self

    def provenance(self, rows: Mapping[str, object]) -> Report:
        """Add rows to the closing table: model, versions, seeds, commands; mappings and lists are spread."""
        self.origins += [(name, spread(value)) for name, value in rows.items()]
        return self

    def beside(self, files: Mapping[str, str]) -> Report:
        """Link to what lies in the page's folder: what it is -> its path from there, such as ``results.json``."""
        self.files += files.items()
        return self

    @property
    def scripts(self) -> str:
        """The only scripts that the page lets run, as its policy names them: those of explorers."""
        own = [part["script"] for part in self.parts("explorer")]
        digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in own]
        return " ".join(f"'sha256-{each}'" for each in digests) or "'none'"

    def parts(self, kind: str) -> list[Mapping[str, Any]]:
        """What is shown of every part of a kind, in order of the page."""
        return [part.shown for section in self.sections for part in section.each_part() if part.kind == kind]

    def html(self) -> str:
        """The page."""
        return environment().get_template("template.html.j2").render(report=self) + "\n"

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
        target = folder_of_page(folder)
        if not self.sections:
            raise InputError("a report without sections", "at least one", "Call report.section(title).")
        files = {f"{figure['name']}.png": figure["data"] for figure in self.parts("figure")}
        files[name] = self.html().encode("utf-8")
        target.mkdir(parents=True, exist_ok=True)
        for file_name, data in files.items():
            partial = target / f"{file_name}.partial"
            partial.write_bytes(data)
            os.replace(partial, target / file_name)
        return target / name


def folder_of_page(folder: str | os.PathLike[str]) -> Path:
    """Where a page can be written.

    Raises:
        InputError: it is a file.
    """
    target = local_path(folder)
    if target.exists() and not target.is_dir():
        raise InputError(f"a file at {target}", "a folder, or nothing", "Choose another folder.")
    return target


def made_with(version: object, commit: object) -> dict[str, str]:
    """The row of the closing table on the ditscope that made a store; none where the store says no commit."""
    words = described(version, commit)
    return {"ditscope": words} if words else {}


class Section:
    """A part of a report. Every method appends, and gives the section back.

    Attributes:
        title: its heading.
        number: from 1.
        parts: prose, code, figures, tables, findings and explorers, in order.
    """

    def __init__(self, report: Report, title: str, number: int) -> None:
        self.title, self.number = title, number
        self.parts: list[Part] = []
        self._report = report

    @property
    def anchor(self) -> str:
        """Where links of the page lead."""
        return f"section-{self.number}"

    def each_part(self) -> Iterator[Part]:
        """The parts in order, those in columns too."""
        for part in self.parts:
            yield part
            if part.kind == "columns":
                for column in part.shown["columns"]:
                    yield from column.each_part()

    def columns(self, *titles: str) -> list[Section]:
        """Columns beside each other, each to be filled as a section is."""
        made = [Section(self._report, title, self.number) for title in titles]
        self.add("columns", columns=made)
        return made

    def text(self, text: str) -> Section:
        """Prose: an empty line starts a paragraph; `` `code` `` and ``**strong**`` are the only markup."""
        return self.add("text", text=text)

    def code(self, text: str, folded: str = "") -> Section:
        """Commands or code, as they are; folded away under a title where one is given."""
        return self.add("code", text=text.strip(), folded=folded)

    def explorer(self, page_parts: tuple[str, str, str], note: str) -> Section:
        """The explorer, with answers inside.

        Args:
            page_parts: its answers, script and style, of :func:`ditscope.explorer.export.parts`.
            note: what is inside.
        """
        answers, script, style = page_parts
        return self.add("explorer", answers=answers, script=script, style=style, note=note)

    def figure(
        self, figure: Figure, caption: str, *, name: str | None = None, code: str | None = None
    ) -> Section:
        """A figure with its caption; also written as ``<name>.png``.

        Args:
            figure: what a plot returned.
            caption: what it shows.
            name: of its file.
            code: Python that draws it, folded away below it; by default the call that is the argument ``figure``,
                where it is one.

        Raises:
            InputError: not a figure, or a name that is taken or not plain.
        """
        if not isinstance(figure, Figure):
            raise InputError(type(figure).__name__, "a matplotlib Figure", "Pass what a plot returned.")
        taken = [other["name"] for other in self._report.parts("figure")]
        name = name or f"figure-{len(taken) + 1}"
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the figure name {name!r}", "lower-case letters, digits, - and _", "Pass a plain name."
            )
        if name in taken:
            raise InputError(f"a second figure named {name!r}", "names used once", "Pass another name.")
        if code is None:
            here = inspect.currentframe()
            code = code_of_figure(here.f_back, self._report.opening) if here and here.f_back else ""
        return self._picture(png(figure), "image/svg+xml", svg(figure), caption, name, code)

    def picture(self, path: Path, caption: str, *, name: str) -> Section:
        """A PNG that was drawn before, with its caption; also written as ``<name>.png``."""
        data = path.read_bytes()
        return self._picture(data, "image/png", data, caption, name, "")

    def _picture(self, data: bytes, kind: str, shown: bytes, caption: str, name: str, code: str) -> Section:
        """A figure: its PNG, and what the page shows of it."""
        # PNG states its size in pixels at bytes 16 to 24; shown at 96 per inch it has its size on paper.
        width, height = (round(int.from_bytes(data[at : at + 4], "big") * 96 / DPI) for at in (16, 20))
        return self.add(
            "figure",
            number=len(self._report.parts("figure")) + 1,
            name=name,
            data=data,
            source=f"data:{kind};base64,{base64.b64encode(shown).decode('ascii')}",
            width=width,
            height=height,
            caption=caption,
            code=code,
        )

    def table(self, table: Any, caption: str = "", *, digits: int = 3) -> Section:
        """A table with its caption above.

        Args:
            table: a DataFrame (a named index becomes columns), a Dataset or DataArray (one row for each
                position), or a list of mappings.
            caption: what it shows.
            digits: significant digits of numbers that are not whole.

        Raises:
            InputError: it is none of these.
        """
        shown = columns(table, digits)
        rows = [
            list(zip(shown, cells, strict=True))
            for cells in zip(*(each.cells for each in shown), strict=True)
        ]
        number = len(self._report.parts("table")) + 1
        return self.add("table", number=number, columns=shown, rows=rows, caption=caption)

    def finding(self, statement: str, means: str, does_not_mean: str) -> Section:
        """One finding in a box, with what it means beside what it does not mean."""
        return self.add("finding", statement=statement, means=means, does_not_mean=does_not_mean)

    def add(self, kind: str, **shown: Any) -> Section:
        """A part as the template shows it; the other methods make theirs."""
        self.parts.append(Part(kind, shown))
        return self
