"""A distribution of somebody else's, installed in a folder, and Python that sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, modules: Mapping[str, str], entries: Mapping[str, str]) -> None:
    """Write modules of a package ``plugin`` and its entry points, ``"group name" -> module:attribute``."""
    (folder / "plugin").mkdir()
    for name, source in {"__init__": "", **modules}.items():
        (folder / "plugin" / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "plugin-0.1.dist-info").mkdir()
    (folder / "plugin-0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: plugin\nVersion: 0.1\n"
    )
    rows = [f"[{key.split()[0]}]\n{key.split()[1]} = plugin.{value}\n" for key, value in entries.items()]
    (folder / "plugin-0.1.dist-info" / "entry_points.txt").write_text("\n".join(rows))


def run_beside(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the distribution on its path."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder
    )
