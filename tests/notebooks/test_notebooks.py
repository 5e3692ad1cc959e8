"""Every notebook runs from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from patience import KERNEL

if TYPE_CHECKING:
    from jupyter_client import AsyncKernelManager

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FEWER = {
    "01_first_look": {
        "prompts(8)": "prompts(4)",
        "prompts[:4]": "prompts[:2]",
        "num_inference_steps=8": "num_inference_steps=2",
        "steps=[0, 5, -1]": "steps=[0, -1]",
    },
    "02_ablation": {
        "prompts(16)": "prompts(6)",
        '"num_inference_steps": 6': '"num_inference_steps": 2',
        "step=[0, 3, 5]": "step=[0, 1]",
    },
    "03_patching_and_transport": {
        "prompts(8, seed=1)": "prompts(3, seed=1)",
        '"num_inference_steps": 4': '"num_inference_steps": 2',
        "[0.25, 0.5, 1.0]": "[0.5, 1.0]",
    },
    "04_detail_guidance": {
        "[:6]": "[:3]",
        '"num_inference_steps": 4': '"num_inference_steps": 2',
        "num_inference_steps=4": "num_inference_steps=3",
    },
    "05_your_own_claim": {"num_inference_steps=3": "num_inference_steps=2"},
}
"""Fewer images and steps than are shown: every line runs, and images take most of the time."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory):
    """One for them all, since it takes seconds to import torch and diffusers."""
    from jupyter_client import AsyncKernelManager  # here, since it takes seconds too
    from jupyter_core.utils import run_sync

    manager = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, kernel: AsyncKernelManager) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for shown, fewer in FEWER[path.stem].items():
        assert any(shown in cell.source for cell in notebook.cells if cell.cell_type == "code"), shown
        for cell in notebook.cells:
            cell.source = cell.source.replace(shown, fewer)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # the names of the one before
    NotebookClient(notebook, km=kernel, **KERNEL).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
