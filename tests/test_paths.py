"""Paths in every form that people write them in, and everything that takes one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import ditscope as ds
from ditscope.cache.verification import verify
from ditscope.cli._options import read_prompts
from ditscope.errors import InputError
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.paths import folder_or_hub_id, local_path
from ditscope.report.page import Report
from ditscope.studies.first_look import FirstLook


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The home folder, and the folder one is in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "written",
    [
        "~/runs/a b.zarr",
        Path("~/runs/a b.zarr"),
        "runs/a b.zarr",
        "./runs/a b.zarr",
        Path("runs") / "a b.zarr",
        "file://{home}/runs/a%20b.zarr",
        "file://localhost{home}/runs/a%20b.zarr",
        Path("file://{home}/runs/a%20b.zarr"),
        "FILE://{home}/runs/a%20b.zarr",
    ],
)
def test_a_path_is_absolute_however_it_is_written(home, written) -> None:
    path = type(written)(str(written).replace("{home}", str(home)))
    assert local_path(path) == home / "runs" / "a b.zarr"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("s3://bucket/a.zarr", "the s3 URL"),
        (Path("s3://bucket/a.zarr"), "the s3 URL"),
        ("https://example.org/a.zarr", "the https URL"),
        ("memory://a", "the memory URL"),
        ("file://server/a.zarr", "host 'server'"),
        ("file:///a.zarr?b=1", "query 'b=1'"),
        ("file:///a.zarr#b", "fragment 'b'"),
        (r"runs\a.zarr", r"Pass 'runs/a\.zarr'"),
        (r"C:\runs\a.zarr", "a backslash"),
        ("~nobody-of-this-name/a.zarr", "a home folder that there is"),
        ("", "path ''"),
        ("a\0b", "a path on this machine"),
        (b"a.zarr", "a path on this machine"),
        (3, "path 3"),
        (None, "path None"),
    ],
)
def test_what_is_no_path_here_is_refused_by_name(written, message) -> None:
    with pytest.raises(InputError, match=message):
        local_path(written)


def test_a_hub_id_is_left_alone_unless_a_folder_has_its_name(home) -> None:
    assert folder_or_hub_id("black-forest-labs/FLUX.1-dev") == "black-forest-labs/FLUX.1-dev"
    (home / "black-forest-labs" / "FLUX.1-dev").mkdir(parents=True)
    assert folder_or_hub_id("black-forest-labs/FLUX.1-dev") == str(home / "black-forest-labs/FLUX.1-dev")
    assert (
        folder_or_hub_id("./a") == folder_or_hub_id("~/a") == folder_or_hub_id(Path("a")) == str(home / "a")
    )


def test_everything_that_takes_a_path_takes_the_home_folder_and_no_url(
    home, dit, untrained_folder, monkeypatch
) -> None:
    call = {"num_inference_steps": 1, "height": 16, "width": 16}
    with ds.record(dit, "~/a.zarr", tensors=False) as rec:
        rec.generate("a red circle", 0, **call)
    assert (home / "a.zarr").is_dir()
    assert not (home / "~").exists()
    cache = ds.open_cache("a.zarr")
    monkeypatch.chdir("/")  # a relative path is of where one was
    assert cache.stats()["mean_abs"].values.any()
    assert verify("~/a.zarr").ok
    assert verify(f"file://{home}/a.zarr").ok
    assert ds.plots.save_png(Figure(), "~/f/a.png") == home / "f" / "a.png"
    report = Report("One")
    report.section("Two")
    assert report.write("~/r") == home / "r" / "report.html"
    (home / "prompts.txt").write_text("a red circle\n")
    assert read_prompts(Path("~/prompts.txt")) == ["a red circle"]
    shutil.copytree(untrained_folder, home / "model")
    assert ds.load("~/model").width == dit.width

    url = "s3://bucket/a"
    for taking in (
        lambda: ds.record(dit, url),
        lambda: ds.open_cache(url),
        lambda: verify(url),
        lambda: ds.load(url),
        lambda: ds.plots.save_png(Figure(), f"{url}.png"),
        lambda: report.write(url),
        lambda: FirstLook().run(url),
        lambda: FirstLook.load(url),
        lambda: FirstLook.report(url),
        lambda: read_prompts(Path(url)),
        lambda: ClipScorer.from_pretrained(url),
    ):
        with pytest.raises(InputError, match="the s3 URL"):
            taking()
