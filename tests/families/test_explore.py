"""What an exploration says of a pipeline, held against what the family of the tiny one says."""

from __future__ import annotations

import pytest
import tiny
from diffusers import DiffusionPipeline
from test_families import NAMES, size
from typer.testing import CliRunner

from ditscope.cli import app
from ditscope.models import family as vocabulary
from ditscope.models.families import FAMILIES
from ditscope.tracing.explore import explore


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_agrees_with_the_family_where_a_run_can_tell(folder_of, name) -> None:
    family = next(family for family in FAMILIES if family.name == tiny.TINY[name].family)
    found = explore(
        DiffusionPipeline.from_pretrained(folder_of(name)),
        tiny.PROMPTS[0],
        **tiny.TINY[name].call,
        **size(name),
    )
    names = {
        "Family": vocabulary.Family,
        "BlockList": vocabulary.BlockList,
        "NO_GUIDANCE": vocabulary.NO_GUIDANCE,
    }
    scope: dict = {}
    exec(found.draft(), names, scope)
    draft = scope["FAMILY"]
    assert draft.transformer_class == family.transformer_class
    assert [layout.path for layout in draft.block_lists] == [layout.path for layout in family.block_lists]
    assert [layout.block_class for layout in draft.block_lists] == [
        layout.block_class for layout in family.block_lists
    ]
    assert [layout.joined for layout in draft.block_lists] == [layout.joined for layout in family.block_lists]
    assert draft.grid_argument == family.grid_argument
    expected = family.timestep_scale
    assert draft.timestep_scale == pytest.approx(1.0 if isinstance(expected, str) else expected, rel=1e-3)


def test_the_command_prints_lists_shapes_visits_and_a_draft(folder_of) -> None:
    result = CliRunner().invoke(app, ["check", str(folder_of("flux2-klein")), "--explore"])
    assert result.exit_code == 0, result.output
    for fact in (
        "Flux2KleinPipeline",
        "1 visits a step",
        "single_transformer_blocks: 3 x",
        "returns float32[1, ",
        "FAMILY",
    ):
        assert fact in result.output
