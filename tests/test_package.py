"""The package as a whole: what importing it costs, and the names it shows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "nnsight",
    "xarray",
    "zarr",
    "matplotlib",
    "sklearn",
    "pandas",
    "numpy",
)


def modules_after(statements: str) -> set[str]:
    script = f"import json, sys\n{statements}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_ditscope_imports_nothing_heavy() -> None:
    assert not modules_after("import ditscope") & set(HEAVY)


def test_looking_at_the_subpackages_imports_nothing_heavy() -> None:
    found = modules_after(
        "import ditscope as ds\n"
        "for name in ('models', 'cache', 'passes', 'edits', 'metrics', 'plots', 'shapes'):\n"
        "    dir(getattr(ds, name))\n"
        "import ditscope.tracing, ditscope.report, ditscope.studies"
    )
    assert not found & set(HEAVY)


def test_a_name_brings_only_what_it_needs() -> None:
    found = modules_after("import ditscope as ds\nds.shapes.make_scene")
    assert not found & {"torch", "diffusers", "nnsight", "zarr"}


def test_the_facade_shows_the_names_of_a_notebook() -> None:
    import ditscope as ds

    names = {"load", "record", "open_cache", "compare", "verify", "DiT", "Cache", "__version__"}
    names |= {"passes", "edits", "metrics", "plots", "shapes", "models", "cache", "errors"}
    assert names <= set(dir(ds))
    assert set(dir(ds)) == set(ds.__all__)
    assert ds.__version__.count(".") >= 2


@pytest.mark.parametrize(
    "package", ["", ".cache", ".edits", ".metrics", ".models", ".passes", ".plots", ".shapes", ".tracing"]
)
def test_every_shown_name_is_there(package) -> None:
    import importlib

    module = importlib.import_module(f"ditscope{package}")
    for name in dir(module):
        assert getattr(module, name) is not None


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    import ditscope as ds

    with pytest.raises(AttributeError, match=r"has no attribute 'rekord'; it has .*record"):
        _ = ds.rekord
