"""The command line: look, check, record, demo. Heavy libraries load inside the commands."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ditscope._version import __version__

app = typer.Typer(
    name="ditscope",
    help="Record, rank, test and transport the hidden states of Diffusion Transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Argument(help="'shapes', a pipeline folder, or a hub id.")]
Steps = Annotated[int, typer.Option(help="Denoising steps.")]
Dtype = Annotated[str | None, typer.Option(help="torch dtype, such as bfloat16.")]
Device = Annotated[str | None, typer.Option(help="Device, such as cuda.")]

Streams = Annotated[str, typer.Option(help="Comma-separated: image, text.")]
Sites = Annotated[
    str,
    typer.Option(
        help="Comma-separated: block_input, attn_output, mlp_output, block_output, or modulation such as attn_gate."
    ),
]
OwnSteps = Annotated[int | None, typer.Option(help="Denoising steps; two by default.")]
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
Blocks = Annotated[str | None, typer.Option(help="Comma-separated block names, kinds or indices.")]


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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo"),
) -> None:
    """Open the embedded pipeline, record it, find its massive channels, test and draw them."""
    _run_first_look("shapes", out)


@app.command()
def check(
    name: Model,
    height: Height = None,
    width: Width = None,
    steps: OwnSteps = None,
    call: Call = None,
    dtype: Dtype = None,
    device: Device = None,
    explore: Annotated[
        bool, typer.Option("--explore", help="Describe a pipeline that no family describes, and draft one.")
    ] = False,
) -> None:
    """Verify that labels tell the truth on a checkpoint; exits with 1 where a check fails."""
    arguments = _call_arguments(call, height=height, width=width, num_inference_steps=steps)
    if explore:
        from ditscope.checking.explore import explore as look_at
        from ditscope.models.loading import load_undescribed

        pipeline, suited = load_undescribed(name, dtype, device)
        typer.echo(str(look_at(pipeline, **{**suited, **arguments})))
        return
    report = _open(name, dtype, device).check(**arguments)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def record(
    name: Model,
    out: Annotated[Path, typer.Option(help="The store to write or resume.")],
    prompts: Annotated[
        Path | None, typer.Option(help="Text file with one prompt a line; by default captions of shapes.")
    ] = None,
    n_prompts: Annotated[int, typer.Option(help="How many captions, without --prompts.")] = 8,
    seeds: Annotated[int, typer.Option(help="Seeds for each prompt, from 0.")] = 1,
    steps: Steps = 20,
    height: Height = None,
    width: Width = None,
    call: Call = None,
    streams: Streams = "image",
    sites: Sites = "block_output",
    blocks: Blocks = None,
    tensors: Annotated[bool, typer.Option(help="Keep hidden states, not only statistics.")] = True,
    batch_size: Annotated[int, typer.Option(help="Images generated together.")] = 1,
    forecast_only: Annotated[bool, typer.Option("--forecast", help="Only say what it would take.")] = False,
    dtype: Dtype = None,
    device: Device = None,
) -> None:
    """Record hidden states of every block into a zarr store."""
    from ditscope.recording.record import record as open_recording
    from ditscope.shapes.prompt_sets import prompts as captions

    arguments = _call_arguments(call, height=height, width=width, num_inference_steps=steps)
    chosen = _read_prompts(prompts) if prompts is not None else captions(n_prompts)
    recording = open_recording(
        _open(name, dtype, device),
        out,
        streams=streams.split(","),
        sites=sites.split(","),
        blocks=_block_names(blocks),
        tensors=tensors,
        batch_size=batch_size,
    )
    with recording:
        typer.echo(str(recording.forecast(chosen, range(seeds), **arguments)))
        if not forecast_only:
            typer.echo(repr(recording.generate(chosen, range(seeds), **arguments)))


@app.command()
def forecast(
    name: Model,
    height: Annotated[int, typer.Option(help="Image height in pixels.")] = 1024,
    width: Annotated[int, typer.Option(help="Image width in pixels.")] = 1024,
    steps: Steps = 28,
    guided: Annotated[
        bool | None, typer.Option(help="With true classifier-free guidance; by default as the pipeline does.")
    ] = None,
    binned: Annotated[
        bool | None,
        typer.Option(help="Generated at the nearest trained size; by default as the pipeline does."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "bfloat16",
    streams: Streams = "image",
    sites: Sites = "block_output",
    blocks: Blocks = None,
    text_tokens: Annotated[int | None, typer.Option(help="Length of the text stream.")] = None,
) -> None:
    """Say what recording one image would take on disk, from the model's configuration alone."""
    from ditscope.models.configuration import read_configuration
    from ditscope.recording.forecast import describe_recording, recording_schema

    configuration = read_configuration(name)
    schema = recording_schema(
        configuration,
        height,
        width,
        steps,
        guided=guided,
        binned=binned,
        dtype=dtype,
        streams=streams.split(","),
        sites=sites.split(","),
        blocks=_block_names(blocks),
        text_tokens=text_tokens,
    )
    typer.echo(describe_recording(configuration, schema))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A cache.")],
    verify: Annotated[bool, typer.Option(help="Read every chunk and test its checksum.")] = False,
) -> None:
    """Say what a cache holds and how complete it is."""
    from ditscope.cache.reader import open_cache
    from ditscope.cache.verification import verify as verify_cache

    cache = open_cache(path)
    typer.echo(repr(cache))
    if verify:
        report = verify_cache(cache)
        typer.echo(str(report))
        if not report.ok:
            raise typer.Exit(1)


def first_look_app() -> None:
    """Command line of ``analyses/first_look.py``."""

    def study(
        out: Annotated[Path, typer.Option(help="Folder to write to.")],
        model: Annotated[str, typer.Option(help="'shapes', a pipeline folder, or a hub id.")] = "shapes",
        k: Annotated[int | None, typer.Option(help="How many channels count as massive.")] = None,
        steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
        n_prompts: Annotated[int | None, typer.Option(help="Prompts to record.")] = None,
        n_compared: Annotated[int | None, typer.Option(help="Prompts to run under each edit.")] = None,
        prompts: Annotated[Path | None, typer.Option(help="Text file with one prompt a line.")] = None,
        dtype: Dtype = None,
        device: Device = None,
    ) -> None:
        given: dict[str, Any] = {"k": k, "n_steps": steps, "n_prompts": n_prompts, "n_compared": n_compared}
        if prompts is not None:
            lines = _read_prompts(prompts)
            given |= {"prompts": tuple(lines), "n_prompts": n_prompts or len(lines)}
        given = {name: value for name, value in given.items() if value is not None}
        _run_first_look(model, out, dtype, device, **given)

    _guarded(lambda: typer.run(study))


def _run_first_look(
    model: str, out: Path, dtype: str | None = None, device: str | None = None, **options: Any
) -> None:
    from ditscope.studies.first_look import FirstLook, run_first_look

    dit = _open(model, dtype, device) if dtype or device else None
    config = FirstLook(model=model, **options)
    findings = run_first_look(config, out, dit=dit, say=lambda line: typer.echo(f"- {line}"))
    typer.echo(f"\n{findings.cache!r}\n")
    typer.echo(f"took {sum(findings.seconds.values()):.0f} seconds; open {out / 'report.html'}")


def _open(name: str, dtype: str | None, device: str | None):
    from ditscope.models.loading import load

    given = {"dtype": dtype, "device": device}
    return load(name, **{key: value for key, value in given.items() if value is not None})


def _call_arguments(given: Sequence[str] | None, **named: int | None) -> dict[str, Any]:
    """Pipeline arguments from options of their own, left out where not given, and from ``--call NAME=VALUE``."""
    arguments: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    seen: set[str] = set()
    for item in given or ():
        name, equals, value = item.partition("=")
        if not (equals and name.isidentifier()):
            raise typer.BadParameter(f"found --call {item!r}; expected NAME=VALUE.")
        if name in named or name in seen:
            raise typer.BadParameter(
                f"found --call {item!r}; expected {name} once, and by its own option if any."
            )
        seen.add(name)
        arguments[name] = _json_or_text(value)
    return arguments


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _block_names(given: str | None) -> list[int | str] | None:
    if given is None:
        return None
    return [int(name) if name.lstrip("-").isdigit() else name for name in given.split(",")]


def _read_prompts(path: Path) -> list[str]:
    if not path.is_file():
        raise typer.BadParameter(f"found no file {path}; expected a text file with one prompt a line.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _guarded(run) -> None:
    from ditscope.errors import DitscopeError

    # Notes of the libraries about optional packages are not for who runs a command.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    try:
        run()
    except DitscopeError as error:
        typer.echo(f"ditscope: {error}", err=True)
        raise SystemExit(2) from None


def main() -> None:
    """Entry point of the ``ditscope`` command."""
    _guarded(app)


if __name__ == "__main__":
    main()
