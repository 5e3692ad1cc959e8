"""Passes are pure: they reach no model, no store and no metric, and importing the package is free."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ditscope.passes

ROOT = Path(ditscope.passes.__file__).parent.parent


@pytest.mark.parametrize(
    ("layer", "later"),
    [("passes", "models tracing cache edits metrics plots"), ("metrics", "models tracing cache edits plots")],
)
def test_imports_go_one_way(layer, later):
    for path in (ROOT / layer).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            assert not any(module.startswith(f"ditscope.{name}") for name in later.split()), (
                f"{path.name}: {module}"
            )


@pytest.mark.parametrize("layer", ["passes", "metrics"])
def test_every_public_name_is_there_and_the_package_imports_nothing_heavy(layer):
    code = (
        f"import sys, ditscope.{layer} as layer\n"
        "heavy = {'torch', 'xarray', 'sklearn', 'scipy', 'dask', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(layer, name) for name in layer.__all__)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
