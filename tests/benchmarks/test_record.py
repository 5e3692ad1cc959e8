"""The benchmark of recording, at its smallest: every part runs, and says what it found beside what is aimed at."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import record
from filled_stores import spent_in
from ways_to_record import BY_HAND, FULL, WAYS, Way


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder, full = tmp_path_factory.mktemp("record"), WAYS[FULL]
    asked = ["--quick", "--rounds", "1", "--folder", str(folder), "--json", str(folder / "r.json")]
    spending = replace(full, run=lambda task, path: {**full.run(task, path), "waiting": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WAYS, FULL, spending)
        record.main([*asked, "--only", "flux-float32", "writer", "growth"])
    assert [path.name for path in folder.iterdir()] == ["r.json"]
    return json.loads((folder / "r.json").read_text())


def targets(part) -> dict[str, str]:
    return {figure["what"]: figure["target"] for figure in part["figures"] if figure["target"]}


def test_a_recording_is_measured_against_its_limit_and_every_other_way(found) -> None:
    part = found["flux-float32"]
    assert [row["way"] for row in part["table"]] == list(WAYS)
    aimed = targets(part)
    assert aimed["ditscope, full, to the limit"] == "at most 1.1"
    assert (
        aimed["ditscope, statistics only, to bare"]
        == aimed["ditscope, 12 channels, to bare"]
        == "at most 1.05"
    )
    for way in BY_HAND:
        assert aimed[f"ditscope, full, time to that of {way}"] == "at most 1.05"
    figures = {figure["what"]: figure["median"] for figure in part["figures"]}
    assert figures["hidden states"] == 8 * 16 * 64 * 4 / 1e6  # blocks, tokens, channels, bytes of float32
    assert figures["share of waiting"] == 0.0
    assert float(part["table"][0]["to bare"]) == 1.0


def test_the_writer_is_measured_against_the_raw_rate(found) -> None:
    aimed = targets(found["writer"])
    assert aimed["disk: CacheWriter, with statistics, of the raw rate"] == "at least 0.8"
    assert aimed["disk: CacheWriter, tensors alone, of the raw rate"] == "at least 0.8"


def test_growth_compares_the_last_samples_with_the_first(found, capsys, monkeypatch, tmp_path) -> None:
    assert set(targets(found["growth"]).values()) == {"at most 1.25", "at most 32"}
    monkeypatch.setattr(record, "MANY", replace(record.MANY, samples=3))
    record.main(["--child", "growth", "--folder", str(tmp_path)])
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(answer["committed"]) == len(answer["resident"]) == 3
    assert answer["committed"] == sorted(answer["committed"])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells the peak")
def test_added_memory_is_that_of_the_way_alone(capsys, tmp_path) -> None:
    def large(task, path) -> None:
        torch.ones(2**26).sum()  # 256 MiB

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WAYS, FULL, Way(large))
        record.main(["--quick", "--folder", str(tmp_path), "--child", "flux-float32", FULL])
    assert 200 < json.loads(capsys.readouterr().out.splitlines()[-1]) / 2**20 < 280


def test_shares_are_shown_where_the_writer_keeps_count() -> None:
    assert spent_in(object()) == {}
    spent = spent_in(SimpleNamespace(spent={"encode": 0.5, "fsync": 1.0}))
    assert [(figure.what, figure.median) for figure in record.shares(spent, 2.0)] == [
        ("share of encode", 0.25),
        ("share of fsync", 0.5),
    ]
