"""The command line: one file a command, found by being there.

A command is a function whose module lists it in ``__all__``, or an entry point of the group ``ditscope.cli``; its name
and its arguments' names are the command's. Heavy libraries load inside the commands, so that help is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ditscope._discovery import public_names
from ditscope._version import __version__
from ditscope.cli._errors import errors_in_a_line, quiet_libraries


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        with errors_in_a_line():
            return super().invoke(ctx)


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
    quiet_libraries()
    app(arguments)
