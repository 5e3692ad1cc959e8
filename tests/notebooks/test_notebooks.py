"""Every notebook runs from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from patience import KERNEL

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FEWER = {
    "01_first_look": {"prompts[:4]": "prompts[:2]"},
    "02_ablation": {"shapes.prompts(16)": "shapes.prompts(7)", "step=[0, 3, 5]": "step=[3, 5]"},
}
"""Fewer images than are shown, where they would take most of the time."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory):
    """One for them all, since it takes seconds to import torch and diffusers."""
    manager = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, kernel: AsyncKernelManager) -> None:
    text = path.read_text(encoding="utf-8")
    for shown, fewer in FEWER.get(path.stem, {}).items():
        assert text.count(shown) == 1
        text = text.replace(shown, fewer)
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # the names of the one before
    NotebookClient(notebook, km=kernel, **KERNEL).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
