"""Run the code of the site's pages, as a reader would: *start here* first, every other page after it.

``python docs/run_pages.py`` draws the gallery's figures into ``docs/images/gallery``; the tests run every page.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
START = DOCS / "start.md"
GALLERY = DOCS / "images" / "gallery"

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", re.DOTALL
)


class Block(NamedTuple):
    """A block of code of a page; ``not_run`` is the reason why it is not run, if it is not."""

    language: str
    code: str
    not_run: str | None


def pages() -> list[Path]:
    """The written pages, in order; that of the store's format has a test of its own."""
    return sorted(path for path in DOCS.rglob("*.md") if "build" not in path.parts)


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["code"], each["why"]) for each in found]


def run(
    page: Path, folder: Path, names: dict[str, Any], replaced: Callable[[str], str] = str
) -> dict[str, Any]:
    """What a page's code, with some of it ``replaced``, defines, run in the working folder with ``names`` known.

    nnsight reads a trace's body from its file, so the page's code has to be one.
    """
    code = [block.code for block in blocks(page) if block.language == "python" and block.not_run is None]
    script = folder / f"{page.stem}.py"
    script.write_text(replaced("\n".join(code)), encoding="utf-8")
    return {
        name: value for name, value in runpy.run_path(str(script), dict(names)).items() if name[:2] != "__"
    }


if __name__ == "__main__":
    import os
    import tempfile

    GALLERY.mkdir(parents=True, exist_ok=True)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        known = run(START, Path(folder), {})
        found = run(DOCS / "gallery.md", Path(folder), known)
        for name, figure in found["figures"].items():
            figure.savefig(GALLERY / f"{name}.png", dpi=80)
        os.chdir(home)
