"""The map of the source is current, and every file says what it is."""

from __future__ import annotations

from source_map import MAP, SOURCE, first_sentence, source_map


def test_the_map_is_current() -> None:
    assert MAP.read_text(encoding="utf-8") == source_map(), "run `python docs/source_map.py`"


def test_every_file_says_what_it_is() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py"]
    assert [path for path in files if not first_sentence(path)] == []
