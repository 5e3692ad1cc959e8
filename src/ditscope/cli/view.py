"""``ditscope view``: look at recordings and comparisons in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ditscope.cli import _options as options
from ditscope.errors import InputError

__all__ = ["view"]


def view(
    paths: Annotated[list[Path], typer.Argument(help="Caches, sweeps, or folders of studies.")],
    port: Annotated[int, typer.Option(help="Port on this machine; 0 is any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser; its address is printed anyway.")] = True,
    export: Annotated[
        Path | None,
        typer.Option(help="Write a page that works by itself, from a file, in place of a server."),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(help="With --export: samples, such as 0,3 or 0:8; the first four by default."),
    ] = None,
    steps: options.Steps = None,
    blocks: options.Blocks = None,
    channels: Annotated[
        str | None,
        typer.Option(help="With --export: channel ids, such as 7,60; the massive ones by default."),
    ] = None,
) -> None:
    """Look at recordings and comparisons in a browser, on this machine alone; or write a page that works by itself."""
    from ditscope.cache.layout import readable_bytes
    from ditscope.explorer.stores import opened

    given = options.selection("image", "block_output", blocks, steps, None, channels)
    chosen: dict[str, Any] = {n: given[n] for n in ("blocks", "steps", "channels") if n in given}
    if samples:
        chosen["samples"] = options.numbers("--samples", samples)
    if export is None and chosen:
        raise InputError(
            f"--{next(iter(chosen))} without --export", "both", "Pass --export page.html, or neither."
        )
    stores = opened(paths)
    if export is not None:
        from ditscope.explorer.export import export as write

        page = write(stores[0], export, **chosen)
        typer.echo(f"{page}: {readable_bytes(page.stat().st_size)}")
        return
    from ditscope.explorer.server import Server

    server = Server(stores, port)
    typer.echo(f"{server.address}\nCtrl-C ends it. Only this machine is answered.")
    server.run(browser=browser)
