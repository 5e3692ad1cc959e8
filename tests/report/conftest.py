"""A recording with every value known, written without a model, and a browser to look at its report."""

from __future__ import annotations

import pytest
from store_recording import make_schema, record

from ditscope.cache import SampleSpec, open_cache
from patience import MILLISECONDS

SAMPLES = tuple(SampleSpec(prompt, seed) for prompt in ("a red circle", "ein Dreieck <b>") for seed in (0, 7))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Two streams, bfloat16, four samples of which three are recorded."""
    path = tmp_path_factory.mktemp("report") / "a run.zarr"
    return open_cache(record(path, make_schema(("block_output", "attn_gate")), [0, 1, 2], SAMPLES))


@pytest.fixture
def shown(browser):
    """Opens a page of a width and a theme; an error in its console fails the test."""
    wrong, pages = [], []

    def show(path, width=1400, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(MILLISECONDS)
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(path.as_uri())
        return page

    yield show
    for page in pages:
        page.close()
    assert not wrong
