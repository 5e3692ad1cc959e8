"""``ditscope info``: what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["info"]


def info(
    path: Annotated[Path, typer.Argument(help="A cache.")],
    verify: Annotated[bool, typer.Option(help="Read every chunk and test its checksum.")] = False,
) -> None:
    """Say what a cache holds and how complete it is."""
    from ditscope._version import described
    from ditscope.cache.reader import open_cache
    from ditscope.cache.verification import verify as verify_cache

    cache = open_cache(path)
    typer.echo(repr(cache))
    environment = cache.manifest["environment"]
    if made_with := described(environment["versions"].get("ditscope"), environment.get("ditscope_commit")):
        typer.echo(f"recorded with ditscope {made_with}")
    if verify:
        report = verify_cache(cache)
        typer.echo(str(report))
        if not report.ok:
            raise typer.Exit(1)
