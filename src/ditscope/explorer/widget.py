"""The explorer in a notebook cell: the same front end, asked through the kernel's messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import xarray as xr

from ditscope.cache.reader import Cache
from ditscope.errors import DitscopeError, UnsupportedError
from ditscope.explorer import front_end
from ditscope.explorer.payload import Payload
from ditscope.explorer.state import fragment
from ditscope.explorer.stores import Store, opened
from ditscope.explorer.view import answer

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise UnsupportedError(
        f"no widgets here ({error})",
        "the library anywidget",
        'Install it with pip install "ditscope[notebooks]", or run ditscope view PATH.',
    ) from error


def view(*sources: str | os.PathLike[str] | Cache | xr.Dataset, **state: Any) -> ExplorerWidget:
    """Look at recordings and comparisons in a notebook: Jupyter, VS Code, Colab, marimo.

    ::

        ds.explorer.view("a.zarr", "b.zarr", step=7, block=9)

    Args:
        *sources: caches, paths of caches, sweeps or folders of studies, and what ``ds.compare`` returned.
        **state: where to begin, by the names of :data:`ditscope.explorer.state.KEYS`.

    Returns:
        A widget; show it by leaving it as the last line of a cell.

    Raises:
        InputError: there is nothing to look at, or the state has a name that is not known.
        CacheError: what is at a path is something else, or damaged.
    """
    return ExplorerWidget(opened(sources), state)


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer as a widget.

    Args:
        stores: what is looked at.
        state: where to begin.

    Attributes:
        state: what is chosen, as in the address of the page; it follows the sliders, and they follow it.
    """

    _esm = front_end.module()
    _css = front_end.style()
    state = traitlets.Unicode("").tag(sync=True)

    def __init__(self, stores: list[Store], state: Mapping[str, Any]) -> None:
        super().__init__(state=fragment(state).removeprefix("#"))
        self._stores = stores
        self.on_msg(self._asked)

    def _asked(self, _widget: Any, message: Any, _buffers: Any) -> None:
        try:
            said: Payload = answer(self._stores, message["view"], message["asked"])
        except DitscopeError as error:
            refused = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
            self.send({"number": message["number"], "refused": refused})
            return
        self.send({"number": message["number"]}, [said.pack()])
