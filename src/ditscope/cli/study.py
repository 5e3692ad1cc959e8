"""``ditscope study``: a claim, tested on any model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditscope._display import text_table
from ditscope.cli import _options as options
from ditscope.errors import InputError, unknown_name

__all__ = ["study"]


def study(
    name: Annotated[str | None, typer.Argument(help="The study; left out, all are listed.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    model: Annotated[str, typer.Option(help="'shapes', a pipeline folder, or a hub id.")] = "shapes",
    prompts: options.PromptFile = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the study, such as num_inference_steps=28 or steps=[0,-1]. May be repeated.",
        ),
    ] = None,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Only draw the report of the result in --out again.")
    ] = False,
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
    if out is None:
        raise InputError("no --out", "a folder to write to", f"Pass --out runs/{name}, say.")
    if redraw:
        typer.echo(f"open {studies[name].report(out)}")
        return
    given = None if prompts is None else options.read_prompts(prompts)
    config = studies[name].of(options.named_values("--set", setting, model=model, prompts=given))
    dit = options.open_model(model, dtype, device) if dtype or device else None
    result = config.run(out, dit=dit, say=lambda line: typer.echo(f"- {line}"))
    typer.echo(f"\n{result!r}\n\nopen {result.folder / 'report.html'}")
