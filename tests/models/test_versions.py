"""Bad versions of the libraries underneath are warned of, and the verified ones are those of the tests."""

from __future__ import annotations

import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ditscope.models import versions

ROOT = Path(__file__).parents[2]


def test_the_verified_versions_are_those_that_the_tests_are_installed_with() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert {library: pins[library] for library in versions.VERIFIED} == versions.VERIFIED


def test_the_verified_versions_have_no_known_problem() -> None:
    assert versions.problems(versions.VERIFIED) == []


@pytest.mark.parametrize(
    ("library", "bad"),
    [
        ("nnsight", "0.7.0"),
        ("nnsight", "0.9.0"),
        ("diffusers", "0.36.0"),
        ("transformers", "4.57"),
        ("torch", "2.7.1"),
    ],
)
def test_known_bad_versions_warn_by_name(monkeypatch, library, bad) -> None:
    have = {**versions.VERIFIED, library: bad}
    monkeypatch.setattr(versions, "version", have.__getitem__)
    with pytest.warns(
        UserWarning, match=f"{library} {bad} is known not to work.*{versions.VERIFIED[library]}"
    ):
        versions.warn_of_known_bad()


@pytest.mark.parametrize("good", ["0.37.0", "0.42.1"])
def test_later_versions_of_diffusers_do_not_warn(good) -> None:
    assert versions.problems({**versions.VERIFIED, "diffusers": good}) == []


def test_what_may_be_installed_is_not_known_to_be_bad() -> None:
    """The lowest versions that the project asks for are the first usable ones of the table."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    for library, first, usable, _ in versions.UNUSABLE:
        assert not asked[library].contains(first)
        if usable:
            assert asked[library].contains(usable)
            assert {s.version for s in asked[library] if s.operator == ">="} == {usable}


def test_installed_versions_are_those_that_are_verified_and_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        versions.warn_of_known_bad()
    installed = {library: version(library).split("+")[0] for library in versions.VERIFIED}
    assert installed == versions.VERIFIED
