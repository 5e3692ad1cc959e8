"""``ditscope study``: a claim, tested on any model."""

from __future__ import annotations

from typing import Annotated

import typer

from ditscope._display import text_table
from ditscope.cli import _options as options
from ditscope.cli._studies import configured, run_study
from ditscope.errors import unknown_name

__all__ = ["study"]


def study(
    name: Annotated[str | None, typer.Argument(help="The study; left out, all are listed.")] = None,
    out: options.Out = None,
    model: options.StudiedModel = "shapes",
    prompts: options.PromptFile = None,
    setting: options.Settings = None,
    redraw: options.Redraw = False,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Run a study, or list them."""
    from ditscope.studies.study import known_studies

    studies = known_studies()
    if name is None:
        typer.echo(text_table("Studies", [(each.name, each.claim) for each in studies.values()]))
        return
    if name not in studies:
        raise unknown_name("study", name, studies)
    run_study(configured(studies[name], model, prompts, setting), out, redraw, dtype, device)
