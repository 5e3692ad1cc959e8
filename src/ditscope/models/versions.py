"""Versions of the libraries underneath: which are verified, and which are known not to work."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version

from packaging.version import Version

VERIFIED: dict[str, str] = {
    "torch": "2.13.0",
    "diffusers": "0.42.1",
    "transformers": "5.23.0",
    "nnsight": "0.8.1",
}
"""What every family is verified with by the tests."""

UNUSABLE: tuple[tuple[str, str, str, str], ...] = (
    ("nnsight", "0", "0.8.1", "it runs a trace in another way"),
    ("nnsight", "0.9", "", "it is newer than what ditscope is written for"),
    (
        "diffusers",
        "0",
        "0.37",
        "its FLUX.2 passes blocks their modulation in another way, and it lacks FLUX.2 klein",
    ),
    (
        "transformers",
        "0",
        "5.6",
        "it has other names for the weights of CLIP's text encoder, and makes up what it misses",
    ),
    ("torch", "0", "2.8", "diffusers' group offload ends in an error where there is no accelerator"),
)
"""Library, first unusable version, first usable one after it ("" for none yet), why."""


def problems(installed: dict[str, str]) -> list[str]:
    """What is known to be wrong with these versions, one sentence each."""
    sentences = []
    for library, first, usable, why in UNUSABLE:
        have = Version(installed[library])
        if have >= Version(first) and (not usable or have < Version(usable)):
            sentences.append(
                f"{library} {installed[library]} is known not to work with ditscope: {why}; "
                f"{library} {VERIFIED[library]} is verified."
            )
    return sentences


def warn_of_known_bad() -> None:
    """Warn of installed versions that are known not to work."""
    for problem in problems({library: version(library) for library in VERIFIED}):
        warnings.warn(problem, UserWarning, stacklevel=3)


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Versions of libraries that are installed."""
    return {library: _read_once(version, library) for library in libraries}


@functools.cache
def _read_once(read: Callable[[str], str], library: str) -> str:
    """What was imported stays what it is, and a version takes as long to read as all else of a live state."""
    return read(library)
