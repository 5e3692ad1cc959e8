"""Imports go one way: each layer knows only those before it, and no module waits for itself."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ditscope

ROOT = Path(ditscope.__file__).parent
LAYERS = [
    ["errors", "_version"],
    ["vocabulary", "encoded_text"],
    ["checks", "paths"],
    ["intervals", "precision", "_display", "_discovery", "_quiet"],
    ["models", "cache"],  # side by side, no arrow between them
    ["tracing"],
    ["checking"],
    ["recording"],
    ["channels"],
    ["passes"],
    ["edits"],
    ["controls"],
    ["guidance"],
    ["metrics"],
    ["experiments"],
    ["plots"],
    ["shapes"],
    ["explorer"],
    ["report"],
    ["studies"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
UPWARD = {
    ("ditscope.models.dit", "checking"),  # DiT.check
    ("ditscope.models.dit", "tracing"),  # DiT.generate_images
    ("ditscope.cache.recorded", "recording"),  # Cache.torch
    ("ditscope.cache.reader", "explorer"),  # Cache.view
    ("ditscope.cache.reader", "report"),  # Cache.report
    ("ditscope.metrics.mask_iou", "shapes"),  # both judge images of the embedded world
    ("ditscope.metrics.shapes_attributes", "shapes"),
}
NEVER = {
    "passes": {"torch", "nnsight", "diffusers", "ditscope.models", "ditscope.tracing"},
    "cache": {"torch", "nnsight", "diffusers", "ditscope.models"},
}
MODULES = {
    ".".join(("ditscope", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}

FINDING = {
    name for name, path in MODULES.items() if "public_names(__name__)" in path.read_text(encoding="utf-8")
}


def imports(module: str, *, at_import: bool = False) -> Iterator[str]:
    """Modules that a module imports, but for typing; ``at_import`` leaves out those inside functions."""

    def nodes(parent: ast.AST) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(parent):
            typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if not typing_only and not (at_import and isinstance(node, ast.FunctionDef)):
                yield node
                yield from nodes(node)

    for node in nodes(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


def layer(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_a_module_imports_only_from_the_layers_before_it(module):
    for imported in imports(module):
        if imported.startswith("ditscope.") and layer(imported) != layer(module):
            allowed = LEVEL[layer(imported)] < LEVEL[layer(module)] or (module, layer(imported)) in UPWARD
            assert allowed, f"{module} imports {imported}"
        for banned in NEVER.get(layer(module), ()):
            assert not f"{imported}.".startswith(f"{banned}."), f"{module} imports {imported}"


def run_by_importing(module: str) -> set[str]:
    """Modules that have to be done before a module is: what it imports, and the packages that these lie in."""
    needed = {name for name in imports(module, at_import=True) if name in MODULES}
    if module in FINDING:
        needed |= {name for name in MODULES if name.rpartition("._")[0] != module == name.rpartition(".")[0]}
    packages = {
        ".".join(name.split(".")[:depth]) for name in needed for depth in range(2, name.count(".") + 1)
    }
    return needed | {package for package in packages if not f"{module}.".startswith(f"{package}.")}


def test_no_module_waits_for_itself():
    TopologicalSorter(
        {module: run_by_importing(module) for module in MODULES}
    ).prepare()  # CycleError names the circle


def test_modules_of_a_package_that_finds_its_names_do_not_import_it():
    assert "ditscope.metrics" in FINDING
    for package in FINDING:
        for module in MODULES:
            if module.startswith(f"{package}.") and not module.endswith("__main__"):
                assert package not in imports(module, at_import=True), f"{module} imports {package}"


@pytest.mark.parametrize(
    "package",
    ["cache", "plots", "intervals", "channels", "metrics", "explorer.views"],  # passes: their own test
)
def test_what_needs_no_model_loads_no_torch(package):
    code = (
        f"import sys, ditscope.{package}; assert not {{'torch', 'diffusers', 'nnsight'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_imported_for_typing_is_there_too() -> None:
    """A type checker passes over a module of ours that is gone."""
    nodes = (node for path in MODULES.values() for node in ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ditscope"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
