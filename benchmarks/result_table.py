"""A Markdown table of results that runs add to: rows of the same setting are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def renew(path: Path, rows: Sequence[Mapping[str, str]], key: Sequence[str], head: str) -> None:
    """Put rows into the one table of a file, in place of those that agree with one of them in ``key``.

    Args:
        path: the file; made if it is not there. Its text around the table stays.
        rows: column -> cell; the first row's columns are the table's.
        key: columns that say what was measured.
        head: text above the table of a new file.

    Raises:
        ValueError: the file's table has other columns.
    """
    columns = list(rows[0])
    text = path.read_text() if path.is_file() else head
    lines = text.splitlines()
    table = [number for number, line in enumerate(lines) if line.startswith("|")]
    begin, end = (table[0], table[-1] + 1) if table else (len(lines), len(lines))
    old = [_cells(line) for line in lines[begin:end]]
    if old and old[0] != columns:
        raise ValueError(f"{path} has the columns {old[0]}, not {columns}: rename the file and run again")
    renewed = {tuple(row[name] for name in key) for row in rows}
    kept = [row for row in old[2:] if tuple(row[columns.index(name)] for name in key) not in renewed]
    all_rows = [*kept, *([row[name] for name in columns] for row in rows)]
    lines[begin:end] = [line(columns), line(["---"] * len(columns)), *map(line, all_rows)]
    path.write_text("\n".join(lines) + "\n")


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
