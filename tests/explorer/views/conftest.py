"""Questions to views, and the Python that they show."""

from __future__ import annotations

import pytest

from ditscope.explorer.view import answer


@pytest.fixture
def ask(stores):
    """Asks a view of the recording, 0, or the sweep, 1."""

    def asked(view, store=0, **parameters):
        return answer(stores, view, {"store": str(store), **{name: str(v) for name, v in parameters.items()}})

    return asked


@pytest.fixture
def run():
    """Runs the Python that an answer shows, and returns what it calls a name."""

    def ran(payload, name):
        names: dict = {}
        exec(payload.values["code"], names)
        return names[name]

    return ran
