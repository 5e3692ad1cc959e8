"""``ditscope report``: the page of a recording, a sweep or a result, alone or beside another."""

from __future__ import annotations

import shutil

import pytest
from store_recording import make_schema, record
from typer.testing import CliRunner

from ditscope.cli import app
from ditscope.experiments.outline import Outline
from ditscope.experiments.sweep_store import opened


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A recording and an empty sweep."""
    folder = tmp_path_factory.mktemp("report")
    record(folder / "a.zarr", make_schema(tensors=False), [0])
    metric = {
        "metric": "psnr",
        "unit": "dB",
        "paired": True,
        "over": "image",
        "binary": False,
        "label": "PSNR",
    }
    outline = Outline(
        dims={},
        edits=["massive"],
        draws=[[1]],
        control=[False],
        matched_to=[""],
        metrics=[metric | {"damage": "lower", "direction": "higher"}],
        prompts=["x", "y"],
        seeds=[0, 0],
        batch_size=2,
        images="drop",
        image_size=None,
        attrs={"model": "tests/tiny"},
    )
    with opened(folder / "b.sweep", outline, {}, {}):
        pass
    return folder


def called(*arguments: object):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "title"),
    [("a.zarr", "Recording of tests/tiny"), ("b.sweep", "Comparison of edits on tests/tiny")],
)
def test_the_page_lies_beside_the_store(stores, name, title) -> None:
    said = called(stores / name)
    page = stores / f"{name[0]}-report" / "report.html"
    assert said.output == f"open {page}\n", said.output
    assert title in page.read_text()


def test_two_recordings_are_side_by_side(stores, tmp_path) -> None:
    shutil.copytree(stores / "a.zarr", tmp_path / "c.zarr")
    assert called(stores / "a.zarr", tmp_path / "c.zarr", "--out", tmp_path / "two").exit_code == 0
    page = (tmp_path / "two/report.html").read_text()
    assert page.count('<div class="columns">') == 4
    assert "<h3>c.zarr</h3>" in page
    assert page.count('<div class="explorer">') == 2


def test_anything_else_is_refused_in_a_sentence(stores, tmp_path) -> None:
    (tmp_path / "file.txt").write_text("mine")
    for paths, words in (
        ([tmp_path / "nothing"], "a recording, a sweep, or the folder of a study"),
        ([tmp_path / "file.txt"], "a recording, a sweep, or the folder of a study"),
        ([tmp_path], "a recording, a sweep, or the folder of a study"),
        ([stores / "a.zarr", stores / "b.sweep"], "recording and sweep"),
    ):
        said = called(*paths, "--out", tmp_path / "out")
        assert (said.exit_code, words in said.output) == (2, True), said.output
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_what_is_wrong_with_a_damaged_store_is_said(stores, tmp_path) -> None:
    """By who reads it: the path is right."""
    for name, file, text, words in (
        ("a.zarr", "zarr.json", "{", "which is not JSON"),
        ("b.sweep", "journal.jsonl", "00000000 {}\n00000000 {}\n", "journal.jsonl whose checksum is another"),
    ):
        shutil.copytree(stores / name, tmp_path / name)
        (tmp_path / name / file).write_text(text)
        said = called(tmp_path / name)
        output = " ".join(said.output.split())
        assert (said.exit_code, words in output, "Check the path" in output) == (2, True, False), output
