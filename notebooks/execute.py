"""Run notebooks and store them with their outputs: ``python notebooks/execute.py [NAME ...]``, all by default.

Progress bars and paths of this machine are left out; figures are kept as they are drawn.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["TMPDIR"] = str(folder)  # where the kernel makes folders of its own
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(folder)}}).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_kept(output)]
            for output in cell.outputs:
                for said in (output, output.get("data", {})):
                    for name in {"text", "text/plain", "text/html"} & said.keys():
                        said[name] = re.sub(rf"{re.escape(str(folder))}(/tmp\w+)?", ".", said[name])
    return notebook


def _is_kept(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a result, and no progress bar or warning."""
    return output.get("name") != "stderr" and not any("widget" in kind for kind in output.get("data", {}))


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(HERE.glob("*.ipynb"))):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
