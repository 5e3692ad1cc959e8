"""Where the embedded pipelines' files are: in the wheel, or in a checkout's ``data`` folder."""

from __future__ import annotations

from pathlib import Path

from ditscope.errors import InputError
from ditscope.vocabulary import EMBEDDED_NAMES

EMBEDDED = "shapes"
"""Name under which the embedded FLUX.1 pipeline is opened."""

_PACKAGED = Path(__file__).parents[1] / "data"
_CHECKOUT = Path(__file__).parents[3] / "data"


def embedded_folder(name: str = EMBEDDED) -> Path:
    """Folder of an embedded pipeline; in that of :data:`EMBEDDED` are ``clip`` and the oracle, which judge all.

    Raises:
        InputError: the installation lacks it.
    """
    for home in (_PACKAGED, _CHECKOUT):
        if (home / name / "model_index.json").is_file():
            return home / name
    raise InputError(
        f"no embedded pipeline {name!r} in {_PACKAGED} or {_CHECKOUT}",
        "the folder that comes with ditscope",
        "Install ditscope again, or train it with `python -m ditscope.shapes.training`.",
    )


def is_embedded(source: str | None) -> bool:
    """Whether what a pipeline was loaded from is an embedded pipeline's folder."""
    homes = (_PACKAGED, _CHECKOUT)
    return source is not None and Path(source).resolve() in {
        home / n for home in homes for n in EMBEDDED_NAMES
    }
