"""The site's pages: code runs as printed, in fewer steps, links lead somewhere, what is generated is current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import generated_pages
import matplotlib
import pytest
import run_pages
from shown_code import FEWER_ON_PAGES, of_page

import ditscope as ds

matplotlib.use("agg")
OWN_TESTS = {"format.md", "reading_without_ditscope.md", "source_map.md", "tested_versions.md"}
PAGES = [page for page in run_pages.pages() if page.name not in OWN_TESTS]
RUN = [
    page
    for page in PAGES
    if page != run_pages.START
    and any(block.language == "python" and block.not_run is None for block in run_pages.blocks(page))
]


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_start_here_finds_massive_channels_and_tests_them(started: dict[str, Any]) -> None:
    assert started["cache"].complete
    assert started["cache"].hidden().sizes["step"] == 3
    assert started["massive"].k == 6
    assert started["result"]["edit"].values.tolist() == ["massive", "random", "as much"]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_line_of_a_page_runs(page: Path, there: Path, started: dict[str, Any]) -> None:
    found = run_pages.run(page, there, started, of_page)
    # A page may give the model back and open it anew; the next ones go on with that.
    started["dit"] = found["dit"]
    assert all(figure.axes for figure in found.get("figures", {}).values())


def test_every_block_is_run_or_says_why_not() -> None:
    assert len(RUN) > 8
    for page in PAGES:
        for block in run_pages.blocks(page):
            assert block.language in ("python", "sh", "text"), page
            assert block.language != "python" or block.not_run is None or len(block.not_run) > 20


def test_what_is_replaced_by_fewer_steps_is_shown() -> None:
    shown = "\n".join(page.read_text(encoding="utf-8") for page in [run_pages.START, *RUN])
    assert [each for each in FEWER_ON_PAGES if each not in shown] == []


def test_every_figure_has_an_example() -> None:
    pages = (run_pages.DOCS / "gallery.md", *(run_pages.DOCS / "howto").glob("*.md"))
    said = "\n".join(page.read_text() for page in pages)
    assert not [name for name in ds.plots.__all__ if not re.search(rf"\b{name}\b", said)]


@pytest.fixture(scope="module")
def api_pages() -> dict[str, str]:
    """Text by path."""
    return dict(generated_pages.api_pages())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path, api_pages: dict[str, str]) -> None:
    generated = {"errors.md", *api_pages}
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        inside = (
            target.relative_to(run_pages.DOCS).as_posix() if target.is_relative_to(run_pages.DOCS) else ""
        )
        tutorial = (
            generated_pages.ROOT / "notebooks" / target.name if inside.startswith("tutorials/") else target
        )
        assert inside in generated or tutorial.exists(), f"{page.name}: {link}"


def test_the_index_of_errors_has_every_refusal_of_the_source() -> None:
    index = generated_pages.error_index()
    assert len(generated_pages.refusals()) > 250
    assert "| `InputError` | a recording that is not open |" not in index
    assert "| `CacheError` | a recording that is not open | use inside its with block |" in index
    for refusal in generated_pages.refusals():
        assert refusal.remedy != ""
        assert index.count(f"`{refusal.error}`") >= 1


def test_the_reference_has_every_name_of_the_facade_and_the_packages(api_pages: dict[str, str]) -> None:
    pages = api_pages
    assert "::: ditscope.experiments.compare.compare" in pages["api/index.md"]
    assert "::: ditscope.passes.stability.stability" in pages["api/passes.md"]
    assert "::: ditscope.edits.zero.zero" in pages["api/edits.md"]
    assert "::: ditscope.controls.matched.matched" in pages["api/controls.md"]
    for text in pages.values():
        for name in re.findall(r"^::: (\S+)", text, flags=re.MULTILINE):
            module, _, _name = name.rpartition(".")
            assert (generated_pages.SOURCE.parent / f"{module.replace('.', '/')}.py").exists() or (
                generated_pages.SOURCE.parent / module.replace(".", "/") / "__init__.py"
            ).exists(), name
