"""What ``ditscope study`` and the scripts of claims do with their options."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from ditscope.cli import _options as options
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.studies.study import Study

AnyStudy = TypeVar("AnyStudy", bound="Study")


def configured(
    kind: type[AnyStudy], model: str, prompts: Path | None, settings: list[str] | None
) -> AnyStudy:
    """The study with these settings."""
    given = None if prompts is None else options.read_prompts(prompts)
    return kind.of(options.named_values("--set", settings, model=model, prompts=given))


def run_study(study: Study, out: Path | None, redraw: bool, dtype: str | None, device: str | None) -> None:
    """Run a study, or draw its report again."""
    if out is None:
        raise InputError("no --out", "a folder to write to", f"Pass --out runs/{study.name}, say.")
    if redraw:
        typer.echo(f"open {study.report(out)}")
        return
    dit = options.open_model(study.model, dtype, device) if dtype or device else None
    program, *given = sys.argv
    started = [
        *(["python"] if program.endswith(".py") else []),
        program if program.endswith(".py") else Path(program).name,
    ]
    command = shlex.join([*started, *given])
    result = study.run(out, dit=dit, say=lambda line: typer.echo(f"- {line}"), command=command)
    typer.echo(f"\n{result!r}\n\nopen {result.folder / 'report.html'}")
