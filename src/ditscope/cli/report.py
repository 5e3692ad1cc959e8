"""``ditscope report``: the page of a recording, a sweep or a study's result, from what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.report.page import Report

__all__ = ["report"]


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(help="A cache, a sweep or a study's folder; several of a kind, side by side."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; by default NAME-report beside a store, and a study's own folder."
        ),
    ] = None,
) -> None:
    """Write the page of a recording, a sweep or a study's result; nothing is run and nothing new is measured."""
    from ditscope.paths import local_path
    from ditscope.report.page import Report, folder_of_page
    from ditscope.report.side_by_side import side_by_side

    sources = [local_path(path) for path in paths]
    known = [_kind(path) for path in sources]
    if len(set(known)) > 1:
        raise InputError(f"{' and '.join(known)}", "several of one kind", "Write their reports one by one.")
    target = folder_of_page(out if out is not None else _folder(sources, known[0]))
    reports = [_drawn(path, kind, target) for path, kind in zip(sources, known, strict=True)]
    page = reports[0]
    if len(reports) > 1:
        labels = [
            path.name if len({each.name for each in sources}) == len(sources) else str(path)
            for path in sources
        ]
        page = Report(f"{len(reports)} {known[0]}s side by side", " and ".join(labels))
        side_by_side(page, reports, labels)
    typer.echo(f"open {page.write(target)}")


def _kind(path: Path) -> str:
    """What is at a path, be it whole or damaged: who reads it says what is wrong."""
    from ditscope.explorer.stores import kind_at

    kind = kind_at(path)
    if kind is None:
        raise InputError(
            f"{'something else' if path.exists() else 'nothing'} at {path}",
            "a recording, a sweep, or the folder of a study's result",
            "Check the path.",
        )
    return kind


def _folder(sources: list[Path], kind: str) -> Path:
    from ditscope.report.recording import beside

    if len(sources) > 1:
        return sources[0].with_name("-and-".join(path.stem for path in sources) + "-report")
    return sources[0] if kind == "study result" else beside(sources[0])


def _drawn(path: Path, kind: str, target: Path) -> Report:
    if kind == "study result":
        from ditscope.studies.saved import saved_report

        return saved_report(path, target)
    if kind == "sweep":
        from ditscope.explorer.stores import Comparison, opened
        from ditscope.report.comparison import comparison_report

        (store,) = opened([path])
        assert isinstance(store, Comparison)
        return comparison_report(store, path, target)
    from ditscope.cache.reader import open_cache
    from ditscope.report.recording import recording_report

    return recording_report(open_cache(path), target)
