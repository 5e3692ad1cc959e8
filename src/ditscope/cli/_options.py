"""Options that several commands have, and what their words stand for in Python."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditscope.errors import InputError, unknown_name
from ditscope.paths import local_path, pipeline_name
from ditscope.vocabulary import BRANCHES, SITES, STREAMS

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def _known(name: str) -> str:
    """A model's name as it was given, once it can be one: before the libraries are imported."""
    pipeline_name(name)
    return name


_MODEL = "'shapes', a pipeline folder, or a hub id."
Model = Annotated[str, typer.Argument(help=_MODEL, callback=_known)]
NumInferenceSteps = Annotated[int, typer.Option(help="Denoising steps.")]
Height = Annotated[int | None, typer.Option(help="Image height in pixels; by default the pipeline's own.")]
Width = Annotated[int | None, typer.Option(help="Image width in pixels; by default the pipeline's own.")]
Call = Annotated[
    list[str] | None,
    typer.Option(
        "--call",
        metavar="NAME=VALUE",
        help="Another pipeline argument, such as guidance_scale=3.5; a value is read as JSON where it is JSON. "
        "May be repeated.",
    ),
]
Dtype = Annotated[str | None, typer.Option(help="torch dtype, such as bfloat16.")]
Device = Annotated[str | None, typer.Option(help="Device, such as cuda.")]
PromptFile = Annotated[Path | None, typer.Option("--prompts", help="Text file with one prompt a line.")]
Out = Annotated[Path | None, typer.Option(help="Folder to write to.")]
StudiedModel = Annotated[
    str, typer.Option("--model", help="'shapes', a pipeline folder, or a hub id.", callback=_known)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the study, such as num_inference_steps=28 or steps=[0,-1]. May be repeated.",
    ),
]
Redraw = Annotated[bool, typer.Option("--redraw", help="Only draw the report of the result in --out again.")]

Streams = Annotated[str, typer.Option(help="Comma-separated: image, text.")]
Sites = Annotated[
    str,
    typer.Option(
        help="Comma-separated: block_input, attn_output, mlp_output, block_output, or modulation such as attn_gate."
    ),
]
Blocks = Annotated[
    str | None, typer.Option(help="Comma-separated block names, kinds or indices; all by default.")
]
Steps = Annotated[
    str | None,
    typer.Option(help="Steps to keep, such as 0,5,-1 or 0:20:5, -1 being the last; all by default."),
]
Branches = Annotated[str | None, typer.Option(help="Comma-separated: cond, uncond; all that run by default.")]
Channels = Annotated[str | None, typer.Option(help="Channel ids, such as 7,60 or 0:64; all by default.")]
ImageTokens = Annotated[
    int | None, typer.Option(help="Number of image tokens to keep, drawn at random; all by default.")
]
Tensors = Annotated[bool, typer.Option(help="Keep hidden states, not only statistics.")]
Seeds = Annotated[str, typer.Option(help="Seeds for each prompt, such as 0,1,7; four of them are 0:4.")]


def selection(
    streams: str,
    sites: str,
    blocks: str | None,
    steps: str | None,
    branches: str | None,
    channels: str | None,
    tokens: int | None = None,
) -> dict[str, Any]:
    """What to keep, as ``ditscope.record`` takes it; what is left out is not in it."""
    chosen = {
        "streams": [one_of("--streams", name, STREAMS) for name in _listed(streams)],
        "sites": [one_of("--sites", name, SITES) for name in _listed(sites)],
        "blocks": blocks and [_block(address) for address in _listed(blocks)],
        "steps": steps and numbers("--steps", steps),
        "branches": branches and [one_of("--branches", name, BRANCHES) for name in _listed(branches)],
        "channels": channels and numbers("--channels", channels),
        "tokens": tokens,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def one_of(option: str, name: str, known: Collection[str]) -> str:
    """A name, if it is among the known ones: known before any library is loaded."""
    if name not in known:
        raise unknown_name(f"{option} name", name, known)
    return name


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers: ``0,5,-1`` one by one, and ``0:20:5`` as Python's ``range(0, 20, 5)``."""
    values: list[int] = []
    try:
        for part in text.split(","):
            ends = [int(end) for end in part.split(":")]
            values += range(*ends) if len(ends) > 1 else ends
    except (TypeError, ValueError):
        values = []
    if not values:
        expected = "whole numbers such as 0,5,-1 or a range such as 0:20:5"
        raise InputError(f"{option} {text!r}", expected, f"Pass {option} 0:4, say.")
    return values


def _block(address: str) -> int | str:
    return int(address) if address.removeprefix("-").isdecimal() else address


def named_values(option: str, pairs: Sequence[str] | None, **own: Any) -> dict[str, Any]:
    """Values by name: options of their own where they were given, and ``NAME=VALUE``, a value being JSON or text."""
    values = {name: value for name, value in own.items() if value is not None}
    seen = set(own)
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (equals and name.isidentifier()):
            raise InputError(f"{option} {pair!r}", "NAME=VALUE", f"Pass {option} k=6, say.")
        if name in seen:
            raise InputError(
                f"{option} {pair!r}", f"{name} once, and by its own option if any", "Leave one out."
            )
        seen.add(name)
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def read_prompts(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    path = local_path(path)
    if not path.is_file():
        raise InputError(f"no file {path}", "a text file with one prompt a line", "Pass another --prompts.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def open_model(name: str, dtype: str | None, device: str | None) -> DiT:
    """The model, with dtype and device where they were given."""
    from ditscope.models.loading import load

    return load(name, **named_values("", (), dtype=dtype, device=device))
