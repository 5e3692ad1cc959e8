"""The benchmark of guidance, at its smallest: it runs, and says what it found beside what is aimed at."""

from __future__ import annotations

import json

import guidance


def test_the_cost_is_told_beside_the_share_of_blocks(tmp_path) -> None:
    kept = tmp_path / "guidance.json"
    guidance.main(["--quick", "--rounds", "1", "--json", str(kept)])
    (part,) = json.loads(kept.read_text()).values()
    aimed = [figure["target"] for figure in part["figures"] if figure["target"]]
    assert aimed == ["at most 0.9", "at most 0.6", "at most 0.3", "at most 0.1"]
    assert part["figures"][0]["median"] > 0
