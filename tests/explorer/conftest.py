"""Stores to look at, written without a model so that every value is known, and a browser to look with."""

from __future__ import annotations

import threading

import pytest
from page_reading import settled
from store_recording import make_schema, record
from store_sweep import make_sweep

from ditscope.cache import SampleSpec, open_cache
from ditscope.encoded_text import EncodedText
from patience import MILLISECONDS, SECONDS

SAMPLES = tuple(
    SampleSpec(prompt, seed) for prompt in ("a red circle", "ein grünes Dreieck <b>") for seed in (0, 7)
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A recording in bfloat16 of two prompts and two seeds, one sample of which is not committed."""
    path = tmp_path_factory.mktemp("explorer") / "a.zarr"
    text = EncodedText({}, "ab", {"cond": (("a", 1), ("<pad>", 3)), "uncond": (("plain", 1), ("<b>", 3))})
    return open_cache(record(path, make_schema(("block_output", "attn_gate")), [0, 1, 2], SAMPLES, text))


@pytest.fixture(scope="session")
def place(cache):
    """What a question has of a place in it, as texts."""
    del cache
    return {
        "stream": "image",
        "site": "block_output",
        "sample": "1",
        "step": "3",
        "branch": "uncond",
        "block": "4",
    }


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """Path of a sweep over two blocks, with images: two edits, the second with two draws; one run is missing."""
    path = tmp_path_factory.mktemp("sweep") / "sweep.zarr"
    return make_sweep(path, {"block": ["double.0", "single.5"]})


@pytest.fixture(scope="session")
def stores(cache, sweep):
    """What the pages of the tests show."""
    from ditscope.explorer.stores import opened

    return opened([cache, sweep])


@pytest.fixture(scope="session")
def server(stores):
    """A running server."""
    from ditscope.explorer.server import Server

    running = Server(stores)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    yield running
    running.stop()
    thread.join(SECONDS)


@pytest.fixture
def shown(browser, server):
    """Opens the server's page with a state; an error in its console fails the test."""
    wrong, pages = [], []

    def show(state="", address=server.address, refused=False, **options):
        page = browser.new_page(**({"viewport": {"width": 1200, "height": 900}} | options))
        page.set_default_timeout(MILLISECONDS)
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if not refused:  # Chromium counts an answer of 400 as an error
            page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{address}#{state}")
        settled(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert not wrong
