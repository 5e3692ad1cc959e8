"""A module's test is found by its name: ``src/ditscope/a/b.py`` is tested by ``tests/a/test_b.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

import ditscope

SOURCE, TESTS = Path(ditscope.__file__).parent, Path(__file__).parent
MODULES = sorted(
    path.relative_to(SOURCE).with_suffix("").as_posix()
    for path in SOURCE.rglob("*.py")
    if not path.name.startswith("_")
)


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_has_a_test_of_its_name(module) -> None:
    folder, _, name = module.rpartition("/")
    assert (TESTS / folder / f"test_{name}.py").is_file()
