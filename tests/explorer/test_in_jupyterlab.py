"""The widget's front end in JupyterLab, in a real Chromium: it asks a real kernel through Jupyter's own messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from page_reading import number, point, readout, settled

from patience import MILLISECONDS

# Not imported here, which would take every run seconds.
pytestmark = [
    pytest.mark.skipif(find_spec(name) is None, reason=f"the library {name} is not installed")
    for name in ("jupyterlab", "anywidget")
]


@pytest.fixture
def lab(tmp_path, cache):
    """Address of a notebook in a running JupyterLab, whose only cell shows the recording."""
    nbformat = pytest.importorskip("nbformat")
    code = f"import ditscope as ds\nds.open_cache({str(cache.path)!r}).view(sample=1, step=3, block=4, channel=70)"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=kernel)
    nbformat.write(book, tmp_path / "look.ipynb")
    own = {
        name: str(tmp_path / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.port=0",
        "--ServerApp.token=t",
        "--ServerApp.open_browser=False",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={tmp_path}"]
    said = tmp_path / "said"
    with said.open("w") as output, subprocess.Popen(command, env=os.environ | own, stderr=output) as process:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", said.read_text())):
            assert process.poll() is None, said.read_text()
            time.sleep(0.2)
        yield f"{found[0]}lab/tree/look.ipynb?token=t"
        process.terminate()


def run_first_cell(page) -> None:
    """Run it, again if need be: JupyterLab loses a cell that is run before its kernel has answered."""
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=MILLISECONDS)
    cell = page.locator(".jp-Cell").first
    prompt = cell.locator(".jp-InputPrompt")
    for _ in range(MILLISECONDS // 2000):
        cell.click(timeout=MILLISECONDS)
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(500)
        if prompt.inner_text() != "[ ]:":
            return
        page.wait_for_timeout(1500)
    raise AssertionError(f"the cell was not run: {page.locator('body').inner_text()}")


def test_the_widget_shows_what_is_stored_and_its_sliders_move(browser, lab, cache) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 1100})
    page.set_default_timeout(MILLISECONDS)
    page.goto(lab)
    run_first_cell(page)
    page.wait_for_selector(".ditscope-explorer[aria-busy=false]", timeout=MILLISECONDS)
    assert (
        page.locator(".ditscope-explorer").evaluate("each => getComputedStyle(each).containerType")
        == "inline-size"
    )
    values = cache.hidden().sel(sample=1, branch="cond", block=4, channel=70)
    for step, moves in ((3, 0), (1, 1)):
        slider = page.get_by_label("Step", exact=True)
        slider.focus()
        for _ in range(moves):
            page.keyboard.press("ArrowLeft")
        settled(page)
        point(page, 2, 1, 3, 4)
        expected = float(values.sel(step=step)[9].values.astype(np.float32))
        assert number(readout(page)) == pytest.approx(expected, rel=6e-4)
    page.close()
