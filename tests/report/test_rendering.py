"""What the template writes text with: everything escaped, `code` and **strong** understood, names required."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from ditscope.report.rendering import environment

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def rendered(template: str, **given: object) -> str:
    return environment().from_string(template).render(**given)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=40), st.sampled_from(["{}", "`{}`", "**{}**", "<b>{}&amp;"]))
def test_any_text_comes_back_from_the_page_but_for_what_html_forbids(text: str, around: str) -> None:
    text = around.format(text)
    prose = rendered("{{ text | inline }}", text=text)
    assert set(re.findall(r"<[^>]*>", prose)) <= {"<code>", "</code>", "<strong>", "</strong>"}
    shown = FORBIDDEN.sub("\ufffd", text)
    plain = unescape(re.sub("</?code>", "`", re.sub("</?strong>", "**", prose)))
    assert plain.replace("\r", "") == shown.replace("\r", "")
    attribute = rendered('<p title="{{ text }}">', text=text).removeprefix('<p title="').removesuffix('">')
    assert '"' not in attribute
    assert "<" not in attribute


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("a `b` **c**", "a <code>b</code> <strong>c</strong>"),
        ("`**a**` and **`b`**", "<code>**a**</code> and **<code>b</code>**"),  # code is cut out first
        ("`<i>` **<b>**", "<code>&lt;i&gt;</code> <strong>&lt;b&gt;</strong>"),
        ("2 * 3 ** 4 and a ` alone", "2 * 3 ** 4 and a ` alone"),
        ("`a\nb`", "`a\nb`"),
    ],
)
def test_prose_has_two_marks_and_no_more(text, page) -> None:
    assert rendered("{{ text | inline }}", text=text) == page


def test_an_empty_line_starts_a_paragraph() -> None:
    page = rendered("{{ text | paragraphs }}", text="\n one\nline \n \n\n**two** & `<x>`\n")
    assert page == "<p>one\nline</p>\n<p><strong>two</strong> &amp; <code>&lt;x&gt;</code></p>"


def test_what_html_forbids_is_replaced_wherever_it_comes_from() -> None:
    assert (
        rendered("{{ text }}|{{ text | inline }}", text="a\x00\x1b\tb") == "a\ufffd\ufffd\tb|a\ufffd\ufffd\tb"
    )


def test_a_name_that_is_missing_is_no_empty_text() -> None:
    with pytest.raises(UndefinedError, match="caption"):
        rendered("{{ caption }}")
