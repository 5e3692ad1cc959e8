"""Every path that a user passes, in one plain form: absolute, on this machine."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ditscope.errors import InputError
from ditscope.vocabulary import EMBEDDED_NAMES

# Two letters at least: one is a drive. A Path of a URL has lost a slash.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def local_path(path: str | os.PathLike[str]) -> Path:
    """An absolute path on this machine: ``~`` is the home folder, ``file://`` URLs are understood.

    Raises:
        InputError: it is empty, no path, a URL of another kind, has a backslash where folders are parted by
            slashes, or names the home folder of nobody.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InputError(f"path {path!r}", "a path on this machine", "Pass a folder, such as 'runs/a.zarr'.")
    scheme = _URL.match(text)
    if scheme is not None:
        text = _of_url(text, scheme[1].lower())
    elif os.sep == "/" and "\\" in text:
        raise InputError(
            f"a backslash in the path {text!r}",
            "folders parted by /",
            f"Pass {text.replace(chr(92), '/')!r}.",
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"path {text!r} ({error})", "a home folder that there is", "Write the folder out."
        ) from error


def folder_or_hub_id(name: str | os.PathLike[str]) -> str:
    """A folder as its absolute path; what looks like a hub id and is no folder here, as it is.

    Raises:
        InputError: as of :func:`local_path`.
    """
    if isinstance(name, str) and _HUB_ID.fullmatch(name) and not Path(name).exists():
        return name
    return str(local_path(name))


def pipeline_name(name: str | os.PathLike[str]) -> str:
    """The name of an embedded pipeline; else a folder as its absolute path, or a hub id as it is.

    Raises:
        InputError: as of :func:`local_path`; or it is all but an embedded pipeline's, for which no network need be
            asked.
    """
    if name in EMBEDDED_NAMES:
        return str(name)
    found = folder_or_hub_id(name)
    if close := difflib.get_close_matches(found.strip().lower(), EMBEDDED_NAMES, n=1, cutoff=0.75):
        raise InputError(
            f"{found!r}, which is no folder here",
            f"'{EMBEDDED_NAMES[0]}', a pipeline folder or a hub id",
            f"Did you mean '{close[0]}'?",
        )
    return found


def _of_url(text: str, scheme: str) -> str:
    if scheme != "file":
        raise InputError(
            f"the {scheme} URL {text!r}",
            "a path on this machine, or a file:// URL",
            "Fetch it to a local folder first.",
        )
    url = urlsplit(text)
    if url.netloc not in ("", "localhost") or url.query or url.fragment:
        raise InputError(
            f"the URL {text!r}, with host {url.netloc!r}, query {url.query!r} and fragment {url.fragment!r}",
            "file:///folder/a.zarr, with ? and # written as %3F and %23",
            "Pass the plain path.",
        )
    return url2pathname(url.path)
