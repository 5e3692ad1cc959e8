"""The map of the source: every file with the first sentence of its docstring.

``python docs/source_map.py`` writes ``docs/source_map.md``; a test keeps it current.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ditscope"
MAP = ROOT / "docs" / "source_map.md"


def source_map() -> str:
    """The map as Markdown: a heading for each package, and a line for each of its files."""
    lines = ["# What stands where", "", "Below `src/ditscope/`; written by `python docs/source_map.py`.", ""]
    for folder in sorted({path.parent for path in SOURCE.rglob("*.py")}):
        package = folder / "__init__.py"
        about = f": {first_sentence(package)}" if package.is_file() and first_sentence(package) else ""
        lines += [f"## `{folder.relative_to(SOURCE.parent)}/`{about}", ""]
        files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
        lines += [f"* `{path.name}`: {first_sentence(path)}" for path in files]
        lines += [""] * bool(files)
    return "\n".join(lines).rstrip() + "\n"


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring, without its full stop; nothing where it has none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


if __name__ == "__main__":
    MAP.write_text(source_map(), encoding="utf-8")
