"""``ditscope check``: does a checkpoint behave as its family says?"""

from __future__ import annotations

from typing import Annotated

import typer

from ditscope.cli._options import Call, Device, Dtype, Height, Model, Width, named_values, open_model

__all__ = ["check"]


def check(
    name: Model,
    height: Height = None,
    width: Width = None,
    num_inference_steps: Annotated[int | None, typer.Option(help="Denoising steps; two by default.")] = None,
    call: Call = None,
    dtype: Dtype = None,
    device: Device = None,
    explore: Annotated[
        bool, typer.Option("--explore", help="Describe a pipeline that no family describes, and draft one.")
    ] = False,
) -> None:
    """Verify that labels tell the truth on a checkpoint; exits with 1 where a check fails."""
    arguments = named_values(
        "--call", call, height=height, width=width, num_inference_steps=num_inference_steps
    )
    if explore:
        from ditscope.checking.explore import explore as look_at
        from ditscope.models.loading import load_undescribed

        pipeline, suited = load_undescribed(name, dtype, device)
        typer.echo(str(look_at(pipeline, **{**suited, **arguments})))
        return
    report = open_model(name, dtype, device).check(**arguments)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)
