"""A page by itself works from a file, and shows the same values as the store; what is not inside it says so."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from page_reading import move, number, point, readout, settled

from ditscope.errors import InputError
from ditscope.explorer.export import export, question_of


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, cache):
    """A page of two samples, one step and two blocks."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    return export(cache, path, samples=[1, 2], steps=-1, blocks=[0, "double.4"], channels=[70, 5])


def test_it_works_from_a_file_and_has_what_is_stored(shown, page_file, cache) -> None:
    page = shown("channel=70&opacity=100", f"file://{page_file}")
    assert page.get_by_label("Step", exact=True).is_disabled()
    for block, prompt, sample in ((1, 0, 1), (0, 1, 2)):
        move(page, "Block", block)
        move(page, "Prompt", prompt)
        point(page, 2, 3, 3, 4)
        values = cache.hidden().sel(sample=sample, step=3, branch="cond", block=4 * block, channel=70)
        assert number(readout(page)) == pytest.approx(float(values[11]), rel=6e-4)
    assert page.locator(".bars button:not(:disabled)").count() <= 2
    assert "IoU" in page.locator("main").inner_text() or "K-means" in page.locator("main").inner_text()
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_what_is_not_inside_is_said(shown, page_file) -> None:
    page = shown("channel=9", f"file://{page_file}")
    assert "Not inside this page" in page.locator(".panel.large .said").inner_text()


def test_a_comparison_can_be_a_page_too(shown, tmp_path, stores) -> None:
    page = shown("sample=1", f"file://{export(stores[1], tmp_path / 'page.html', samples=[1])}")
    assert page.locator("figure canvas").count() == 3
    page.get_by_role("button", name="random").click()
    settled(page)
    assert "random" in page.locator(".facts").inner_text()


def test_it_fetches_nothing_and_runs_no_words_of_the_store(page_file) -> None:
    text = page_file.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=\"https?:", text)
    answers = re.search(r'id="answers">(.*?)</script>', text, re.S)[1]
    assert "<" not in answers
    assert question_of("sample", {"store": 0, "sample": 2}) in json.loads(answers)


def test_questions_are_written_as_the_page_writes_them(shown) -> None:
    asked = {"store": 0, "b": "ü", "a": [1, 2]}
    assert question_of("mask", asked) == '["mask",[["a","1,2"],["b","ü"],["store","0"]]]'


def test_too_much_and_what_is_not_there_are_refused_before_a_file_is_written(tmp_path, cache, stores) -> None:
    path = tmp_path / "page.html"
    for options, words in (
        ({"most_bytes": 10_000}, "more than .* for a page"),
        ({"samples": [3]}, "sample 3"),
        ({"steps": 2}, "2"),
        ({"blocks": "single"}, "single"),
        ({"channels": [1]}, "channel 1"),
    ):
        with pytest.raises(InputError, match=words):
            export(cache, path, **options)
    with pytest.raises(InputError, match="sample 9"):
        export(stores[1], path, samples=[9])
    with pytest.raises(InputError, match="a file to write"):
        export(cache, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_channels_are_those_that_are_most_often_first(tmp_path, cache) -> None:
    text = export(cache, tmp_path / "page.html", samples=[0], steps=[1], channels=1).read_text()
    scores = cache.stats()["mean_abs"].sel(sample=0, step=1, branch="cond")
    first = set(scores["channel"].values[np.argmax(scores.values, axis=-1)].tolist())
    answers = json.loads(re.search(r'id="answers">(.*?)</script>', text, re.S)[1])
    asked = [dict(pairs) for view, pairs in map(json.loads, answers) if view == "channel_map"]
    inside = {int(each["channel"]) for each in asked}
    assert len(inside) == 1
    assert inside <= first
