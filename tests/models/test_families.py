"""Families are found by being there, and by entry points; each list of blocks is one of a few builders' or its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ditscope.errors import UnsupportedError
from ditscope.models import families
from ditscope.models.families import family_of, known_families
from ditscope.vocabulary import BLOCK_ENDS

FOLDER = Path(families.__file__).parent


def test_every_file_of_the_folder_adds_one_family() -> None:
    files = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    assert len(files) == len(known_families()) == len({family.name for family in known_families()})


def test_a_pipeline_class_belongs_to_one_family() -> None:
    for family in known_families():
        for pipeline in family.pipelines:
            found = family_of(pipeline)
            assert found is family or found == replace(family, guidance=found.guidance)  # as its call has it
    with pytest.raises(UnsupportedError, match=r"class NoPipeline; expected one of .*FLUX\.1 \(FluxPipeline"):
        family_of("NoPipeline")


def test_every_site_of_a_block_is_described_with_its_streams() -> None:
    for family in known_families():
        for layout in family.block_lists:
            assert set(layout.inputs) == set(layout.outputs)
            assert set(layout.taps) <= set(layout.outputs)
            assert not {site for taps in layout.taps.values() for site in taps} & set(BLOCK_ENDS)


def test_an_installed_package_adds_a_family_by_an_entry_point(tmp_path) -> None:
    """In a Python of its own, since families are found once, when they are imported."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ditscope.models.families]\nMINE = stranger:MINE\nNO_FAMILY = stranger:NO_FAMILY\n"
    )
    (tmp_path / "stranger.py").write_text(
        "from dataclasses import replace\n"
        "from ditscope.models.families.sana import SANA\n"
        "MINE = replace(SANA, name='Mine', pipelines=('MyPipeline',))\n"
        "NO_FAMILY = 3\n"
    )
    code = (
        "from ditscope.models.families import known_families, family_of\n"
        "assert family_of('MyPipeline').name == 'Mine'\n"
        "print(len(known_families()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{FOLDER.parents[2]}", "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(result.stdout) == len(known_families()) + 1


def test_families_are_names_of_their_package() -> None:
    from ditscope.models import families

    assert families.SANA in families.known_families()
