"""What a package offers: the names that its modules list, and those that installed packages add.

A pass, an edit, a metric, a figure, a study, a command or a family is found by being there: a module of the package
that lists it in ``__all__``. Another distribution adds one by an entry point of the group that is named for the
package, such as ``[project.entry-points."ditscope.metrics"]``.

``python -m ditscope._discovery`` writes the stubs of such packages, where editors and type checkers find the names.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ditscope.errors import no_attribute


def public_names(package: str) -> dict[str, Any]:
    """Name -> what it stands for, of everything that a package offers.

    The package also gets a ``__getattr__``, for the names of a plugin that imports the package itself and is not done
    yet, and for an error that lists the names there are.

    Args:
        package: the package's ``__name__``. Modules whose name begins with an underscore are its own affair.

    Warns:
        UserWarning: an entry point cannot be loaded, or has a name that the package has already; it is left out.
    """
    home = importlib.import_module(package)
    names = {name: getattr(module, name) for module in _modules(home) for name in module.__all__}
    unfinished: dict[str, EntryPoint] = {}
    for entry in entry_points(group=package):
        if entry.name in names:
            warnings.warn(f"{entry.value} is left out: {package} has a {entry.name} already.", stacklevel=2)
            continue
        try:
            names[entry.name] = entry.load()
        except Exception as error:  # whatever a stranger's module raises must not close the package
            spec = getattr(sys.modules.get(entry.module), "__spec__", None)
            if getattr(spec, "_initializing", False):
                unfinished[entry.name] = entry
                continue
            warnings.warn(
                f"{package} leaves out {entry.name}: {entry.value} fails with {error!r}.", stacklevel=2
            )

    def missing(name: str) -> Any:
        if name not in unfinished:
            raise no_attribute(package, name, sorted([*names, *unfinished]))
        return unfinished[name].load()

    vars(home)["__getattr__"] = missing
    return names


def stub(package: str) -> str:
    """Text of the package's ``__init__.pyi``: the names of its modules, and what its ``__init__.py`` defines itself."""
    home = importlib.import_module(package)
    source = ast.parse(Path(str(home.__file__)).read_text(encoding="utf-8"))
    own = [
        node for node in source.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    values = [node for node in source.body if isinstance(node, ast.AnnAssign)]
    for function in own:
        function.body, function.decorator_list = [ast.Expr(ast.Constant(...))], []
    for value in values:
        value.value = None
    defined = [*values, *own]
    used = {node.id for statement in defined for node in ast.walk(statement) if isinstance(node, ast.Name)}
    lines = ["# Written by `python -m ditscope._discovery`."]
    for node in source.body:
        if isinstance(node, ast.ImportFrom):
            lines += [f"from {node.module} import {each.name}" for each in node.names if each.name in used]
    for module in _modules(home):
        short = module.__name__.removeprefix(package)
        shown = [name for name in sorted(module.__all__) if vars(home).get(name) is getattr(module, name)]
        lines += [f"from {short} import {name} as {name}" for name in shown]
    return "\n".join([*lines, *map(ast.unparse, defined), ""])


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            if hasattr(module, "__all__"):
                yield module


def stubs() -> dict[Path, str]:
    """File -> text of the stub of every package that finds its names by :func:`public_names`."""
    root = Path(__file__).parent
    return {
        path.with_suffix(".pyi"): stub(".".join(path.parent.relative_to(root.parent).parts))
        for path in sorted(root.rglob("*/__init__.py"))
        if "public_names(__name__)" in path.read_text(encoding="utf-8")
    }


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
