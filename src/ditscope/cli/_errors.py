"""How commands say what went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import typer

from ditscope._display import printable
from ditscope.errors import DitscopeError


@contextlib.contextmanager
def errors_in_a_line() -> Iterator[None]:
    """An error of ours, or of the disk, is one line and exit code 2; any other shows where it came from.

    Ctrl-C is one line too, and exit code 130.
    """
    try:
        yield
    except (DitscopeError, OSError) as error:
        said = [str(error), *getattr(error, "__notes__", ())]
        typer.echo(f"ditscope: {printable(' '.join('; '.join(said).split()))}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt as stop:
        words = "; ".join(("stopped", *getattr(stop, "__notes__", ()), "run it again to go on"))
        typer.echo(f"\nditscope: {words}", err=True)
        raise typer.Exit(130) from None


def quiet_libraries() -> None:
    """Leave out the libraries' notes about optional packages: they are not for who runs a command."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
