"""What an exploration says of a pipeline, compared with what the family of the tiny one says."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import tiny
from diffusers import DiffusionPipeline
from family_calls import NAMES, size
from typer.testing import CliRunner

from ditscope.checking.explore import explore
from ditscope.cli import app
from ditscope.models import family as vocabulary
from ditscope.models.families import known_families

VOCABULARY = {
    "Family": vocabulary.Family,
    "BlockList": vocabulary.BlockList,
    "Guidance": vocabulary.Guidance,
    "NO_GUIDANCE": vocabulary.NO_GUIDANCE,
    "replace": dataclasses.replace,
}
STREAMS = ("inputs", "outputs", "joined")
EMBEDDING = ("flux-embedded", "flux2-dev")
DISTILLED = ("flux2-klein", "flux2-dev")


def family_of(name: str) -> vocabulary.Family:
    return next(family for family in known_families() if family.name == tiny.TINY[name].family)


UNCOUNTED = ("auraflow", "lumina2")
"""Registers go before the text there, or padding is taken out: no count of tokens tells the text."""


@pytest.fixture(scope="session")
def explored(folder_of):
    """Name -> what is found out about the tiny pipeline."""

    def look(name: str):
        pipeline = DiffusionPipeline.from_pretrained(folder_of(name))
        return explore(pipeline, tiny.PROMPTS[0], **tiny.TINY[name].call, **size(name))

    return functools.cache(look)


@pytest.fixture(scope="session")
def drafted(explored):
    """Name -> the family that the draft describes."""

    def run(name: str) -> vocabulary.Family:
        scope: dict = {}
        exec(explored(name).draft(), dict(VOCABULARY), scope)
        return scope["FAMILY"]

    return functools.cache(run)


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_agrees_with_the_family_where_a_run_can_tell(drafted, name) -> None:
    family, draft = family_of(name), drafted(name)
    assert draft.transformer_class == family.transformer_class
    assert [layout.path for layout in draft.block_lists] == [layout.path for layout in family.block_lists]
    assert [layout.block_class for layout in draft.block_lists] == [
        layout.block_class for layout in family.block_lists
    ]
    assert draft.grid_argument == family.grid_argument
    expected = family.timestep_scale
    assert draft.timestep_scale == pytest.approx(1.0 if isinstance(expected, str) else expected, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNCOUNTED])
def test_a_draft_has_the_familys_streams(drafted, name) -> None:
    for draft, layout in zip(drafted(name).block_lists, family_of(name).block_lists, strict=True):
        assert {what: getattr(draft, what) for what in STREAMS} == {
            what: getattr(layout, what) for what in STREAMS
        }, layout.path


@pytest.mark.parametrize("name", UNCOUNTED)
def test_a_draft_says_so_where_no_count_of_tokens_fits(explored, name) -> None:
    assert "# it returns" in explored(name).draft()


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_has_the_familys_guidance_as_far_as_the_checkpoint_has_it(drafted, name) -> None:
    draft, guidance = drafted(name).guidance, family_of(name).guidance
    # What one checkpoint cannot show: other argument groups, other configs, and whether others embed a scale.
    shown = dataclasses.replace(
        guidance, negatives=guidance.negatives[:1], unless=None, embedded=name in EMBEDDING
    )
    if name in DISTILLED:
        shown = dataclasses.replace(vocabulary.NO_GUIDANCE, embedded=name in EMBEDDING)
    assert draft == shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sd3", "guidance: uncond, cond, the halves of a doubled batch, where guidance_scale exceeds 1\n"),
        ("qwen-image", "guidance: cond, uncond, a visit each, where true_cfg_scale exceeds 1\n"),
        ("flux2-klein", "guidance: one branch, whatever the scale\n"),
        ("flux2-dev", "guidance: one branch, whatever the scale; a scale is embedded\n"),
    ],
)
def test_guidance_is_said_in_words(explored, name, words) -> None:
    assert words in str(explored(name))


def test_which_families_may_embed_a_scale_is_what_tiny_transformers_do(opened) -> None:
    embedding = {
        tiny.TINY[name].family
        for name in NAMES
        if opened(name).diffusers_pipeline.transformer.config.get("guidance_embeds")
    }
    assert embedding == {family.name for family in known_families() if family.guidance.embedded}


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
