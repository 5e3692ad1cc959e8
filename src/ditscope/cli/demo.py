"""``ditscope demo``: the first look, on the embedded pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo")) -> None:
    """Open the embedded pipeline, record it, find its massive channels, test and draw them."""
    typer.echo("- load the libraries: ten seconds")
    from ditscope.cli.study import study

    study("first_look", out)
