"""What a package offers: the names that its modules list, and those that installed packages add.

A pass, an edit, a metric, a figure, a study, a command or a family is found by being there: a module of the package
that lists it in ``__all__``. Another distribution adds one by an entry point of the group that is named for the
package, such as ``[project.entry-points."ditscope.metrics"]``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from importlib.metadata import entry_points
from typing import Any


def public_names(package: str) -> dict[str, Any]:
    """Name -> what it stands for, of everything that a package offers.

    Args:
        package: the package's ``__name__``. Modules whose name begins with an underscore are its own affair.

    Warns:
        UserWarning: an entry point cannot be loaded, or has a name that the package has already; it is left out.
    """
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(sys.modules[package].__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"{package}.{module.name}")
            found |= {name: getattr(loaded, name) for name in getattr(loaded, "__all__", ())}
    for entry in entry_points(group=package):
        if entry.name in found:
            warnings.warn(f"{entry.value} is left out: {package} has a {entry.name} already.", stacklevel=2)
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever a stranger's module raises must not close the package
            warnings.warn(
                f"{package} leaves out {entry.name}: {entry.value} fails with {error!r}.", stacklevel=2
            )
    return found
