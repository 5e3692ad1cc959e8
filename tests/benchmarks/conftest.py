"""Every measured run starts with a collection of garbage, which is quick where little is looked through."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True, scope="package")
def libraries_are_not_looked_through():
    gc.freeze()
    yield
    gc.unfreeze()
