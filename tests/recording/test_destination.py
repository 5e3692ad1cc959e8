"""Stores and memory take what a run asks of where its readings go."""

from __future__ import annotations

import inspect

import pytest

from ditscope.cache.writer import CacheWriter
from ditscope.recording.capture import _Filling
from ditscope.recording.destination import Destination

METHODS = [name for name in vars(Destination) if not name.startswith("_")]


@pytest.mark.parametrize("kind", [CacheWriter, _Filling])
def test_every_method_is_there_with_its_parameters(kind) -> None:
    assert "commit_together" in METHODS
    for name in METHODS:
        assert (
            inspect.signature(getattr(kind, name)).parameters
            == inspect.signature(getattr(Destination, name)).parameters
        )
