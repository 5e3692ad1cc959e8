from __future__ import annotations

import numpy as np
import pytest

from ditscope.errors import InputError
from ditscope.plots import channel_magnitude, image_grid, save_png


def test_the_same_figure_gives_the_same_bytes_and_nothing_else(tmp_path, scores) -> None:
    first = save_png(channel_magnitude(scores), tmp_path / "new" / "a.png")
    second = save_png(channel_magnitude(scores), tmp_path / "new" / "b.png")
    assert first.read_bytes() == second.read_bytes()
    assert not any(chunk in first.read_bytes() for chunk in (b"tEXt", b"iTXt", b"tIME"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]


def test_a_figure_that_was_shown_is_saved_as_it_was_shown(tmp_path, images) -> None:
    figure = image_grid(images)
    shown, _ = figure._repr_png_()
    assert save_png(figure, tmp_path / "a.png").read_bytes() == shown


def test_what_is_no_figure_or_no_png_is_refused(tmp_path, scores) -> None:
    with pytest.raises(InputError, match="matplotlib Figure"):
        save_png(np.ones(3), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"ending in \.png"):
        save_png(channel_magnitude(scores), tmp_path / "a.pdf")
