"""The table of supported models is current and names every family."""

from __future__ import annotations

from pathlib import Path

from support_table import PAGE, TORCHAO, support_table, updated

from ditscope.models.families import known_families

ROOT = Path(__file__).parents[2]


def test_the_table_on_its_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page, "run `python docs/support_table.py`"


def test_the_table_names_every_family_and_pipeline() -> None:
    table = support_table()
    for family in known_families():
        assert f"| {family.name} |" in table
        assert all(f"`{pipeline}`" in table for pipeline in family.pipelines)


def test_the_table_names_the_torchao_that_the_tests_run_with() -> None:
    assert f"torchao=={TORCHAO}" in (ROOT / "constraints.txt").read_text().split()
