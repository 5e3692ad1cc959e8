"""The verdict on a pipeline folder: the best scale is found on other prompts than those that are judged."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest

from ditscope.models.embedded import embedded_folder
from ditscope.shapes import parse_caption, prompts
from ditscope.shapes.scenes import draw_scene
from ditscope.shapes.training import evaluation


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[float, list[str]]]:
    """Calls of the generator, in whose place real scenes are drawn: blank ones but at a scale of 5."""
    calls = []

    def draw(dit, captions, *, true_cfg_scale, **_):
        calls.append((true_cfg_scale, list(captions)))
        random = np.random.default_rng(0)
        images = np.stack([draw_scene(parse_caption(caption), random).image for caption in captions])
        return images if true_cfg_scale == 5.0 else np.full_like(images, 128)

    monkeypatch.setattr(evaluation, "draw_images", draw)
    monkeypatch.setattr(evaluation, "judge_oracle", functools.partial(evaluation.judge_oracle, count=8))
    return calls


def test_the_best_scale_is_chosen_kept_and_judged_on_prompts_of_their_own(tmp_path, drawn) -> None:
    folder = tmp_path / "shapes"
    shutil.copytree(embedded_folder(), folder, ignore=shutil.ignore_patterns("*.png", "quality.json"))
    (tmp_path / "generator.jsonl").write_text('{"step": 50, "seconds": 1, "loss": 1, "pixels": 32}\n' * 2)
    quality = evaluation.evaluate(folder, tmp_path, count=8, searched=4)

    assert [scale for scale, _ in drawn] == [2.0, 2.0, 3.5, 3.5, 5.0, 5.0, 5.0, 5.0]
    for objects in (1, 2):
        searched, judged = drawn[objects - 1][1], drawn[objects - 3][1]
        assert (searched, judged) == (prompts(4, 11, objects=objects), prompts(8, 12, objects=objects))
        assert not set(searched) & set(judged)
    assert json.loads((folder / "quality.json").read_text()) == quality
    assert json.loads((folder / "ditscope.json").read_text())["call"]["true_cfg_scale"] == 5.0
    assert quality["guidance_scale"] == 5.0
    assert quality["guidance_search"]["5.0"] == 1.0 > quality["guidance_search"]["2.0"]
    # Wilson's interval of 8 right of 8, by hand: 8 / (8 + 1.96^2).
    for rows in ("generated", "generated_two_objects"):
        assert quality[rows]["all"] == {"right": 1.0, "low": pytest.approx(0.6756, abs=1e-4), "high": 1.0}
    assert quality["clip_score"]["matched"] > quality["clip_score"]["shuffled"] + 5
    assert {path.name for path in folder.glob("*.png")} == {"samples.png", "training.png"}
    # Images that are there are not drawn again, and other prompts do not get them.
    drawn.clear()
    assert evaluation.evaluate(folder, tmp_path, count=8, searched=4) == quality
    assert drawn == []
    evaluation.evaluate(folder, tmp_path, count=9, searched=4)
    assert [len(captions) for _, captions in drawn] == [9, 9]
