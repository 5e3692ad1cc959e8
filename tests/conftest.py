"""What holds for every test, and what each may use: an untrained pipeline on disk, opened once, and a browser."""

from __future__ import annotations

import gc
import json
import random
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from patience import MILLISECONDS

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]

# The same examples in every run, however slow the machine is.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")


def pytest_collection_finish() -> None:
    """No search for garbage goes through the libraries again, nor after every few objects: it took 6 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test hangs on what those before it drew; its fixtures do not either."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def untrained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real FLUX.1 pipeline of the embedded sizes with random weights, saved by diffusers."""
    from ditscope.shapes.assembly import assemble, save_pipeline
    from ditscope.shapes.networks import autoencoder
    from ditscope.shapes.training.generators import FluxGenerator

    torch.manual_seed(0)
    generator = FluxGenerator()
    # Training starts from zeroed output layers; a test needs blocks that do something.
    for parameter in generator.transformer.parameters():
        if parameter.ndim == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("pipeline") / "untrained"
    save_pipeline(assemble(generator, autoencoder()), folder)
    settings = json.loads((folder / "ditscope.json").read_text())
    assert settings["call"]["height"] == 64
    return folder


@pytest.fixture(scope="session")
def dit(untrained_folder: Path):
    """The untrained pipeline, opened."""
    import ditscope as ds

    return ds.load(str(untrained_folder))


@pytest.fixture
def prompts() -> list[str]:
    """Two captions of the shapes world."""
    return [
        "a small red circle at the left on a plain blue background",
        "a large white star at the top on a striped purple background",
    ]


@pytest.fixture(scope="module")  # while its driver runs, other tests' event loops could not
def browser():
    """A real Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on this machine: install Debian's package chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="the library playwright is not installed")
    playwright.expect.set_options(timeout=MILLISECONDS)
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=MILLISECONDS)
        yield launched
        launched.close()
