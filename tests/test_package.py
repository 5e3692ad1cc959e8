"""The package as a whole: what importing it costs, and the names it shows to people and to type checkers."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ditscope as ds
from ditscope._discovery import stubs

HEAVY = {
    *("torch", "diffusers", "transformers", "nnsight", "xarray", "zarr", "matplotlib", "sklearn", "pandas"),
    *("numpy", "scipy", "typer", "importlib.metadata"),
}


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def modules_after(statements: str) -> set[str]:
    return set(
        json.loads(printed_by(f"import json, sys\n{statements}\nprint(json.dumps(sorted(sys.modules)))"))
    )


def test_importing_ditscope_imports_nothing_heavy() -> None:
    assert not modules_after("import ditscope; dir(ditscope)") & HEAVY


def test_a_name_brings_only_what_it_needs() -> None:
    loaded = modules_after("import ditscope as ds\nds.shapes.make_scene\nds.shapes.prompts(3)")
    assert not loaded & {"torch", "diffusers", "nnsight", "zarr"}


def test_the_facade_shows_the_names_of_a_notebook() -> None:
    names = {
        "load",
        "record",
        "repair",
        "capture",
        "capture_image",
        "crossed_prompts",
        "open_cache",
        "compare",
        "grid",
        "sweep",
        "open_sweep",
        "attribution",
        "patch_effect",
        "transport_curve",
        "verify",
        "DiT",
        "Cache",
        "ChannelSet",
        "PromptEmbeds",
    }
    names |= {
        "passes",
        "edits",
        "controls",
        "guidance",
        "explorer",
        "metrics",
        "plots",
        "shapes",
        "models",
        "cache",
        "errors",
        "intervals",
    }
    names |= {
        "tracing",
        "experiments",
        "recording",
        "checking",
        "channels",
        "vocabulary",
        "report",
        "studies",
        "__version__",
    }
    assert names == set(dir(ds)) == set(ds.__all__)
    assert ds.__version__.count(".") >= 2


@pytest.mark.parametrize(
    "package", ["", *(f".{name}" for name in dir(ds) if hasattr(getattr(ds, name), "__path__"))]
)
def test_every_shown_name_is_there(package) -> None:
    module = importlib.import_module(f"ditscope{package}")
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize(("module", "name"), [(ds, "record"), (ds.metrics, "psnr")])
def test_an_unknown_name_is_refused_with_the_known_ones(module, name) -> None:
    with pytest.raises(
        AttributeError, match=rf"{module.__name__} has no attribute 'rekord'; it has .*{name}"
    ):
        _ = module.rekord


def test_stubs_are_not_stale() -> None:
    written = stubs()
    assert written
    for path, text in written.items():
        statements = {ast.unparse(node) for node in ast.parse(text).body}
        assert path.exists(), f"{path} is missing: run python -m ditscope._discovery"
        there = {ast.unparse(node) for node in ast.parse(path.read_text(encoding="utf-8")).body}
        assert statements == there, f"{path} is stale: run python -m ditscope._discovery"


def test_a_type_checker_sees_the_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "notebook.py"
    lines = {
        "reveal_type(ds.metrics.psnr)": 'note: Revealed type is "def (images: Any, reference: Any) ->',
        "reveal_type(ds.metrics.METRICS['psnr'].label)": 'note: Revealed type is "str"',
        "reveal_type(ds.compare)": 'note: Revealed type is "def (dit: ditscope.models.dit.DiT, prompts:',
        "reveal_type(ds.shapes.prompts)": 'note: Revealed type is "def (count: int, seed: int =, *, objects: int =',
        "ds.rekord": 'error: Module has no attribute "rekord"',
        "ds.metrics.psnrr": 'error: Module has no attribute "psnrr"',
    }
    script.write_text("\n".join(["import ditscope as ds", *lines]), encoding="utf-8")
    sources = Path(str(ds.__file__)).parents[1]
    # Without the libraries, which take a minute to read: their types are Any then.
    options = ["--no-site-packages", "--ignore-missing-imports", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--follow-imports", "silent", str(script)],
        env={**os.environ, "MYPYPATH": str(sources)},
        capture_output=True,
        text=True,
    )
    said = done.stdout.replace("builtins.", "") + done.stderr
    for number, (line, words) in enumerate(lines.items(), start=2):
        assert any(f":{number}: {words}" in each for each in said.splitlines()), f"{line}\n{said}"
