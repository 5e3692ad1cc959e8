"""Where the embedded pipeline's files are: in the wheel, or in a checkout's ``data`` folder."""

from __future__ import annotations

from pathlib import Path

from ditscope.errors import InputError

EMBEDDED = "shapes"
"""Name under which the embedded pipeline is opened."""

_PACKAGED = Path(__file__).parents[1] / "data" / "shapes"
_CHECKOUT = Path(__file__).parents[3] / "data" / "shapes"


def embedded_folder() -> Path:
    """Folder of the embedded pipeline: a diffusers pipeline, with ``clip`` and the oracle beside it.

    Raises:
        InputError: the installation lacks it.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / "model_index.json").is_file():
            return folder
    raise InputError(
        f"no embedded pipeline in {_PACKAGED} or {_CHECKOUT}",
        "the folder that comes with ditscope",
        "Install ditscope again, or train it with `python -m ditscope.shapes.training`.",
    )


def is_embedded(source: str | None) -> bool:
    """Whether what a pipeline was loaded from is the embedded pipeline's folder."""
    return source is not None and Path(source).resolve() in (_PACKAGED, _CHECKOUT)
