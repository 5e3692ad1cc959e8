"""Pages of the site that are made from the source: the tutorials, the API reference, the index of errors.

A hook of mkdocs (``mkdocs.yml``): ``make docs`` builds the site, without the network. Written pages are beside it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ditscope"

PACKAGES = {
    "models": "Open and check models",
    "recording": "Record",
    "cache": "Read a store",
    "channels": "Sets of channels",
    "passes": "Passes",
    "edits": "Edits",
    "controls": "Controls",
    "guidance": "Guidance",
    "experiments": "Experiments",
    "tracing": "Traced runs",
    "metrics": "Metrics",
    "plots": "Figures",
    "shapes": "The embedded world",
    "studies": "Studies",
    "intervals": "Intervals",
    "errors": "Errors",
    "vocabulary": "Vocabulary",
}
"""What the API reference has pages of, in its order."""

INHERITING = ("Cache", "Capture", "ChannelSet")
"""Classes whose methods are, as far as they are used, those of a base class without a place of its own."""

_ERRORS = (
    "InputError",
    "UnsupportedError",
    "CacheError",
    "ConfigMismatchError",
    "CheckError",
    "VisitError",
    "EditError",
)

GALLERY = ROOT / "docs" / "images" / "gallery"
_CODE, _DRAWN = re.compile(r"```python\n.*?```", re.DOTALL), re.compile(r'figures\["(\w+)"\]')
_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):<code>~?")


class Refusal(NamedTuple):
    """One place that refuses something: which error, where, what it says; parts that depend on the case are …"""

    error: str
    module: str
    line: int
    found: str
    expected: str
    remedy: str


def refusals() -> list[Refusal]:
    """Every error that is made in the source, in the order of its files."""
    return [refusal for path in sorted(SOURCE.rglob("*.py")) for refusal in _refusals_of(path)]


def error_index() -> str:
    """The index of errors as Markdown: by package, what was found, what is expected, what to do."""
    lines = [
        "# Errors",
        "",
        "Every error of ditscope says what it found, what it expected, and what to do. It is raised before",
        "work starts, and leaves what is on disk unharmed. Its parts are `error.found`, `error.expected` and",
        "`error.remedy`, and all are `DitscopeError`s. This index is drawn from the source; … stands for what depends",
        "on the case.",
        "",
    ]
    package = ""
    for each in refusals():
        home = each.module.split(".")[1]
        if home != package:
            package = home
            lines += [f"## {package}", "", "| error | found | expected | what to do |", "|---|---|---|---|"]
        cells = (
            f"`{each.error}`",
            *(text.replace("|", "\\|") for text in (each.found, each.expected, each.remedy)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def public_names(package: str) -> list[str]:
    """Full names, with their modules, of what a package or a module offers, in the order of its files."""
    home = SOURCE / package
    if home.is_dir():
        stub = home / "__init__.pyi"
        return _offered(stub if stub.is_file() else home / "__init__.py")
    tree = ast.parse(home.with_suffix(".py").read_text(encoding="utf-8"))
    return [f"ditscope.{package}.{node.name}" for node in tree.body if _is_public(node)]


def api_pages() -> Iterator[tuple[str, str]]:
    """Path and text of each page of the API reference."""
    rows = "\n".join(
        f"* [{title}]({package}.md): `ditscope.{package}`" for package, title in PACKAGES.items()
    )
    facade = _facade()
    known = "Examples go on after [start here](../start.md), with its names; `np` is numpy, `xr` is xarray."
    yield (
        "api/index.md",
        f"# API\n\n{rows}\n\n{known}\n\n`import ditscope as ds` gives these, and the packages:\n\n"
        + "\n\n".join(map(_entry, facade))
        + "\n",
    )
    for package, title in PACKAGES.items():
        names = public_names(package)
        shown = [f"[`{name.rpartition('.')[2]}`](index.md#{name})" for name in names if name in facade]
        told = [f"On the page of `ditscope` itself: {', '.join(shown)}."] * bool(shown)
        entries = [_entry(name) for name in names if name not in facade]
        yield f"api/{package}.md", "\n\n".join([f"# {title}", *told, *entries]) + "\n"


def _entry(name: str) -> str:
    inheriting = name.rpartition(".")[2] in INHERITING
    return f"::: {name}" + "\n    options: {inherited_members: true}" * inheriting


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs: the pages of the site, with the generated ones."""
    from mkdocs.structure.files import File

    made = [("errors.md", error_index()), *api_pages()]
    for path, text in made:
        files.append(File.generated(config, path, content=text))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"tutorials/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs: below each block of the gallery, the figures that it draws, as far as they have been drawn."""
    if page.file.src_uri != "gallery.md":
        return markdown

    def shown(block: re.Match[str]) -> str:
        names = [name for name in _DRAWN.findall(block[0]) if (GALLERY / f"{name}.png").is_file()]
        return "\n\n".join([block[0], *(f"![{name}](images/gallery/{name}.png)" for name in names)])

    return _CODE.sub(shown, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs: docstrings name things as Sphinx does; the role is left out, and the name stays."""
    return _ROLE.sub("<code>", html)


def _facade() -> list[str]:
    """Full names of what ``ditscope`` itself offers beside its packages."""
    return _offered(SOURCE / "__init__.pyi")


def _offered(init: Path) -> list[str]:
    """Full names of the functions and classes that an ``__init__`` takes from the package's modules."""
    package = ".".join(init.parent.relative_to(SOURCE.parent).parts)
    taken = [
        (f"{package}.{node.module}" if node.level else node.module, alias.name)
        for node in ast.parse(init.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("_")
        for alias in node.names
    ]
    return [f"{module}.{name}" for module, name in taken if name in _defined(module)]


def _defined(module: str) -> set[str]:
    """Names of a module's own public functions and classes; none of another library's."""
    path = SOURCE.parent / f"{module.replace('.', '/')}.py"
    return (
        {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if _is_public(node)}
        if path.is_file()
        else set()
    )


def _is_public(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def _refusals_of(path: Path) -> Iterator[Refusal]:
    module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ERRORS:
            said = [_words(argument) for argument in node.args]
            if len(said) == 3:
                yield Refusal(node.func.id, module, node.lineno, *said)


def _words(node: ast.expr) -> str:
    """A message as far as it is known beforehand."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.IfExp):
        return f"{_words(node.body)}, or {_words(node.orelse)}"
    if isinstance(node, ast.BinOp):
        return _words(node.left) + _words(node.right)
    return "…"
