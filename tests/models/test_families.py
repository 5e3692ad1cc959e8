"""Families are found by being there, and by entry points; each list of blocks is one of a few builders' or its own."""

from __future__ import annotations

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


def test_families_are_names_of_their_package() -> None:
    from ditscope.models import families

    assert families.SANA in families.known_families()
