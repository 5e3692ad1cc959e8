"""Package ``__init__`` files that import nothing until a name is first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attach(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make ``__getattr__``, ``__dir__`` and ``__all__`` for a package.

    Args:
        package: the package's ``__name__``.
        names: public name -> submodule that defines it, relative to ``package``. A name that equals
            its submodule gives the submodule itself. ``save`` cannot be one: nnsight mounts a method of
            that name on every object, which hides a name that is not there yet.
    """
    assert "save" not in names
    public = sorted(names)

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(public)}")
        module = importlib.import_module(f"{package}.{names[name]}")
        value = module if names[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return public

    return __getattr__, __dir__, public
