"""Where the embedded pipeline is, and that a pipeline is known to be it by its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ditscope.errors import InputError
from ditscope.models import embedded
from ditscope.models.embedded import embedded_folder, is_embedded


def test_the_folder_is_a_pipeline_with_a_scorer_beside_it() -> None:
    for part in ("model_index.json", "clip", "transformer"):
        assert (embedded_folder() / part).exists()


def test_the_folder_is_known_however_it_is_written(tmp_path) -> None:
    folder = embedded_folder()
    assert is_embedded(str(folder))
    assert is_embedded(folder)
    assert is_embedded(os.path.relpath(folder))
    assert not is_embedded("shapes")  # a hub id, or another folder of that name
    assert not is_embedded(str(tmp_path))
    assert not is_embedded(None)


def test_an_installation_without_it_is_told_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(embedded, "_PACKAGED", tmp_path / "a")
    monkeypatch.setattr(embedded, "_CHECKOUT", Path(tmp_path) / "b")
    with pytest.raises(InputError, match="no embedded pipeline 'shapes' in .*Install ditscope again"):
        embedded_folder()
