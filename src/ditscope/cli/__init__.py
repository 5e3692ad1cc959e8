"""The command line: one file a command, found by being there.

A command is a function whose module lists it in ``__all__``, or an entry point of the group ``ditscope.cli``; its name
and its arguments' names are the command's. Heavy libraries load inside the commands, so that help is quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ditscope._discovery import public_names
from ditscope._display import printable
from ditscope._version import __version__
from ditscope.errors import DitscopeError


class _Commands(TyperGroup):
    """An error of ours, or of the disk, is one line and exit code 2; any other shows where it came from.

    Ctrl-C is one line too, and exit code 130.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (DitscopeError, OSError) as error:
            said = [str(error), *getattr(error, "__notes__", ())]
            typer.echo(f"ditscope: {printable(' '.join('; '.join(said).split()))}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            said = "; ".join(("stopped", *getattr(stop, "__notes__", ()), "run it again to go on"))
            typer.echo(f"\nditscope: {said}", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="ditscope",
    cls=_Commands,
    help="Record, rank, test and transport the hidden states of Diffusion Transformers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # which would cut off long option names
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ditscope {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _name, _command in sorted(public_names("ditscope.cli").items()):
    app.command(_name.replace("_", "-"))(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``ditscope`` command.

    Args:
        arguments: what stands behind the command's name; by default what the process was started with.
    """
    # Notes of the libraries about optional packages are not for who runs a command.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    app(arguments)
