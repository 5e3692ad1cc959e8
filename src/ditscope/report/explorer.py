"""The explorer inside a report, on the parts of stores that fit; of what does not, the command that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ditscope.cache.layout import readable_bytes
from ditscope.cache.reader import Cache
from ditscope.errors import CacheError, InputError
from ditscope.explorer.export import parts
from ditscope.explorer.fitting import Fitting, fitting
from ditscope.explorer.stores import Comparison, Store, listed, opened
from ditscope.report.page import Report, Section

EXPLORER_BYTES = 6 * 2**20
"""Most bytes of the explorer's answers in a report."""

_TITLE = "Look for yourself"
_MOST_STORES = 3


def add_store(report: Report, store: Store, path: Path) -> None:
    """Add a section with the explorer on a part of one store.

    Args:
        report: of it.
        store: a recording or a comparison.
        path: where it is.
    """
    _add(report.section(_TITLE), [store], f"`ditscope view {path}`")


def add_stores(report: Report, folder: Path) -> None:
    """Add a section with the explorer on parts of the stores of a study's result, or with a sentence why there is none.

    Args:
        report: of the result.
        folder: of the result; comparisons in it come first, and of these the ones of most samples.
    """
    section = report.section(_TITLE)
    command = "`ditscope view .` in the folder of the result"  # which may be elsewhere tomorrow
    try:
        stores = _stores(folder)
        if stores:
            _add(section, stores, command)
            return
        why = "no recording or sweep is with the result"
    except CacheError as error:  # no reason to have no report of the result
        why = f"a store is damaged ({error.found})"
    section.text(
        f"The explorer is not inside this page, as {why}: where all are there and whole, {command} shows them."
    )


def _stores(folder: Path) -> list[Store]:
    try:
        stores = opened([folder])
    except InputError:
        return []
    return sorted(stores, key=lambda store: (isinstance(store, Cache), -_samples(store)))


def _add(section: Section, stores: Sequence[Store], command: str) -> None:
    names = [each.name for each in listed(stores)]
    chosen: dict[str, Fitting] = {}
    for name, store in zip(names, stores, strict=True):
        if len(chosen) < _MOST_STORES and (
            fits := fitting(store, EXPLORER_BYTES // min(len(stores), _MOST_STORES))
        ):
            chosen[name] = fits
    if not chosen:
        why = " and ".join(dict.fromkeys(map(_why_not, stores)))
        section.text(f"The explorer is not inside this page, as {why}: {command} shows all.")
        return
    inside = "; ".join(f"of `{name}` {each.inside}" for name, each in chosen.items())
    left = ", ".join(f"`{name}`" for name in names if name not in chosen)
    page_parts = parts([(each.store, each.choice) for each in chosen.values()], most_bytes=EXPLORER_BYTES)
    section.explorer(
        page_parts,
        f"Inside this page (no more than {readable_bytes(EXPLORER_BYTES)}) are {inside}."
        + (f" Not inside: {left}." if left else "")
        + f" {command} shows all.",
    )


def _why_not(store: Store) -> str:
    if isinstance(store, Comparison):
        return "no image of an edited run is kept"
    if not store.committed:
        return "no sample is recorded"
    size = readable_bytes(EXPLORER_BYTES)
    return f"one image with one place of it takes more than the {size} that a report has for it"


def _samples(store: Store) -> int:
    return len(store.committed) if isinstance(store, Cache) else store.result.sizes["sample"]
