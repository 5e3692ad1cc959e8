"""Examples in docstrings: every public name has one, and it runs as printed, in fewer steps, after *start here*."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from shown_code import fewer_steps

import ditscope as ds

PACKAGES = ("cache", "channels", "controls", "edits", "experiments", "guidance")
PACKAGES += ("metrics", "passes", "recording", "tracing")
METHODS = {
    "Cache": ("hidden", "images", "stats", "torch", "trajectory", "view"),
    "ChannelSet": ("of", "sel", "to_file"),
    "DiT": ("check", "close", "generate_images"),
    "edits.Edit": ("draw",),
    "passes.Ranking": ("concentration", "energy_matched", "magnitude_matched", "random", "to_file"),
    "recording.Capture": ("save",),
    "recording.Recording": ("forecast", "generate"),
}
"""Methods and properties that users call, of classes whose own example does not show them."""

WITHOUT = {
    "Forecast Outcome Probe RecordedSource Recording Verification": "made by functions, which have one",
    "EditContext EditedVisit Firings GuidedVisit PatchSource Where": "for edits of one's own, and what runs them",
    "Address BlockSpec CacheWriter Reading SampleSpec Schema StepSpec StoredSite StreamSpec TrajectorySpec": "of the "
    "store's writer, which record calls",
    "build_manifest config_hash": "of the store's writer, likewise",
}
"""Names without an example, and why."""


def public() -> dict[str, Any]:
    """Functions and classes of the facade and its packages, and :data:`METHODS`, by the name after ``ds.``."""
    found = {name: getattr(ds, name) for name in ds.__all__}
    for package in PACKAGES:
        home = getattr(ds, package)
        found |= {f"{package}.{name}": getattr(home, name) for name in home.__all__ if name not in found}
    kinds = {name: thing for name, thing in found.items() if inspect.isfunction(thing) or is_made(thing)}
    return kinds | {
        f"{name}.{each}": getattr(found[name], each) for name in METHODS for each in METHODS[name]
    }


def is_made(thing: Any) -> bool:
    """Whether it is a class; those of edits are made by the functions beside them."""
    return isinstance(thing, type) and (thing is ds.edits.Edit or not issubclass(thing, ds.edits.Edit))


def example_of(name: str, thing: Any, names: dict[str, Any]) -> doctest.DocTest:
    source = inspect.getsourcefile(ds if not hasattr(thing, "__module__") else inspect.getmodule(thing) or ds)
    return doctest.DocTestParser().get_doctest(
        fewer_steps(inspect.getdoc(thing) or ""), names, f"ds.{name}", source, 0
    )


EXAMPLES = {name: example_of(name, thing, {}) for name, thing in public().items()}


def test_every_public_function_has_an_example_or_a_reason() -> None:
    without = {name.rpartition(".")[2] for name, example in EXAMPLES.items() if not example.examples}
    assert without == set(" ".join(WITHOUT).split())
    assert not [name for name, each in EXAMPLES.items() if any(line.options for line in each.examples)]


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example.examples])
def test_the_example_of_a_docstring_runs(
    name: str, started: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "Cache.view":
        pytest.importorskip("anywidget", reason="the library anywidget is not installed")
    (tmp_path / "shapes.zarr").symlink_to(folder / "shapes.zarr")
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[name]
    example.globs = {**started, "np": np, "xr": xr, "__name__": "__main__"}
    said: list[str] = []
    assert not doctest.DocTestRunner().run(example, out=said.append).failed, "".join(said)
