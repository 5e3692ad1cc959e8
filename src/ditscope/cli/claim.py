"""A claim as a script: ``python analyses/01_criticality.py --model shapes --out runs/criticality``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditscope.cli import _options as options
from ditscope.cli._errors import errors_in_a_line, quiet_libraries
from ditscope.cli._studies import configured, run_study
from ditscope.paths import local_path

if TYPE_CHECKING:
    from ditscope.studies.claim import Claim
    from ditscope.studies.cost import Cost

KEPT = ("verdict.json", "*.csv", "*.png")
"""What of a result is small and says what it says: what is kept beside the script."""


def run_claim(kind: type[Claim], arguments: Sequence[str] | None = None) -> None:
    """Run a claim by the options of the command line.

    Args:
        kind: the claim.
        arguments: what stands behind the script's name; by default what the process was started with.
    """
    from ditscope.studies.side_by_side import side_by_side

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command(help=f"{kind.claim} ({kind.source})")
    def script(
        out: options.Out = None,
        model: options.StudiedModel = "shapes",
        prompts: options.PromptFile = None,
        setting: options.Settings = None,
        redraw: options.Redraw = False,
        forecast: Annotated[
            bool, typer.Option("--forecast", help="Only say what it would take, without weights.")
        ] = False,
        keep: Annotated[
            Path | None, typer.Option(help="Also put verdict, tables and figures into this folder.")
        ] = None,
        beside: Annotated[
            Path | None,
            typer.Option(
                help="Folder of another result: only lay it beside the one in --out, in --out/beside."
            ),
        ] = None,
        height: options.Height = None,
        width: options.Width = None,
        dtype: options.Dtype = None,
        device: options.Device = None,
    ) -> None:
        with errors_in_a_line():
            size = {name: edge for name, edge in (("height", height), ("width", width)) if edge}
            claim = configured(kind, model, prompts, setting)
            claim = replace(claim, call={**claim.call, **size})
            if forecast:
                typer.echo(_expected(claim))
                return
            if beside is not None and out is not None:
                page = side_by_side([kind.load(out), kind.load(beside)])
                typer.echo(f"open {page.write(local_path(out) / 'beside')}")
                return
            run_study(claim, out, redraw, dtype, device)
            if keep is not None and out is not None:
                target = local_path(keep)
                target.mkdir(parents=True, exist_ok=True)
                for path in [path for pattern in KEPT for path in local_path(out).glob(pattern)]:
                    shutil.copy(path, target / path.name)

    quiet_libraries()
    app(arguments)


def _expected(claim: Claim) -> Cost:
    from ditscope.models.configuration import read_configuration
    from ditscope.studies.cost import cost

    found = read_configuration(claim.model)
    call = {**found.full_call, **claim.call}
    height, width = (call.get(edge) or 1024 for edge in ("height", "width"))
    return cost(claim.work(), found, claim.num_inference_steps, height=height, width=width)
