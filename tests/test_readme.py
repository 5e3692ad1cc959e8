"""The README's code runs as printed, and its commands and links exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_notebook_snippets_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1
    # nnsight reads a trace's body from its file, so the snippets have to be one.
    script = tmp_path / "snippet.py"
    code = "\n".join(blocks)
    assert code.count("num_inference_steps=8") == 3
    script.write_text(code.replace("num_inference_steps=8", "num_inference_steps=2"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(script))
    result = found["result"]
    assert list(result["edit"].values) == ["massive", "random", "changes as much"]
    assert list(result["metric"].values) == ["clip_score", "psnr"]
    assert found["cache"].complete


def test_every_relative_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) <= targets
