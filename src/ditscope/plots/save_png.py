"""A figure as a file."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from ditscope.errors import InputError
from ditscope.paths import local_path
from ditscope.plots._sheet import png

__all__ = ["save_png"]


def save_png(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure as PNG; the same figure gives the same bytes.

    Args:
        figure: any matplotlib figure.
        path: a file name that ends in ``.png``. Its folder is made.

    Raises:
        InputError: ``path`` ends otherwise, or ``figure`` is not a figure.
    """
    target = local_path(path)
    if not isinstance(figure, Figure):
        raise InputError(type(figure).__name__, "a matplotlib Figure", "Pass what a plot returned.")
    if target.suffix.lower() != ".png":
        raise InputError(f"the file name {target.name!r}", "one ending in .png", "Rename it.")
    data = png(figure)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, target)
    return target
