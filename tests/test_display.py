"""Rows of names and values as text and as HTML."""

from __future__ import annotations

import pytest

from ditscope._display import first_rows, html_table, text_table


def test_text_has_its_first_column_padded() -> None:
    assert (
        text_table("<Cache a>", [("model", "shapes"), ("k", "6")]) == "<Cache a>\n  model  shapes\n  k      6"
    )
    assert text_table("empty", []) == "empty"


def test_html_escapes_title_head_and_rows() -> None:
    page = html_table("<b>", [("<i>", "&")], head=("<u>", "value"))
    assert page.count("<tr>") == 2
    assert "&lt;b&gt;" in page
    assert "&lt;i&gt;" in page
    assert "&lt;u&gt;" in page
    assert not {"<b>", "<i>", "<u>"} & {page[at : at + 3] for at in range(len(page))}


@pytest.mark.parametrize(("most", "last"), [(3, ("c", "3")), (2, ("...", "2 more blocks"))])
def test_what_is_left_out_is_counted(most: int, last: tuple[str, str]) -> None:
    rows = first_rows([("a", "1"), ("b", "2"), ("c", "3")], most, "blocks")
    assert len(rows) == most
    assert rows[-1] == last


def test_what_would_steer_a_terminal_is_written_out() -> None:
    shown = text_table("<\x1b]0;a\x07>", [("model", "a\x9bb\u202ec\ud800d ü")])
    assert shown == "<\\x1b]0;a\\x07>\n  model  a\\x9bb\\u202ec\\ud800d ü"
