"""What an exploration says of FLUX.1, and drafts of explorations made by hand."""

from __future__ import annotations

import dataclasses

import pytest

import bare_pipeline
from ditscope.checking.explore import Exploration, explore
from ditscope.models import family as vocabulary

NAMES = {
    name: getattr(vocabulary, name) for name in ("Family", "BlockList", "Guidance", "NO_GUIDANCE", "replace")
}


def made(**changes) -> Exploration:
    """A pipeline with two lists of blocks, by hand: 12 image tokens, 5 text tokens."""
    found = Exploration(
        "MinePipeline",
        "MineTransformer",
        lists={"double_blocks": ("Double", 2), "single_blocks": ("Single", 3)},
        calls={path: ({"x": "float32[1]"}, "float32[2]") for path in ("double_blocks", "single_blocks")},
        returned={"double_blocks": (12, 5), "single_blocks": 17},
        passed={"img_ids": "float32[12, 3]", "timestep": "float32[1]"},
        n_tokens=(12, 5),
        guidance=vocabulary.Guidance(("cond", "uncond"), "true_cfg_scale", embedded=True),
        visits_per_step=2.0,
        timesteps=([0.9, 0.4], [900.0, 400.0]),
    )
    return dataclasses.replace(found, **changes)


def drafted(exploration: Exploration) -> vocabulary.Family:
    scope: dict = {}
    exec(exploration.draft(), dict(NAMES), scope)
    return scope["FAMILY"]


def test_flux_is_described_as_it_is(untrained_folder) -> None:
    pipeline = bare_pipeline.opened(untrained_folder)
    found = explore(pipeline, **bare_pipeline.SIZE)
    assert (found.pipeline, found.transformer) == ("FluxPipeline", "FluxTransformer2DModel")
    assert found.lists == {
        "transformer_blocks": ("FluxTransformerBlock", 4),
        "single_transformer_blocks": ("FluxSingleTransformerBlock", 6),
    }
    assert found.returned == dict.fromkeys(found.lists, (24, 4 * 8))  # text first
    assert (found.n_tokens, found.visits_per_step) == ((4 * 8, 24), 1.0)
    assert found.passed["hidden_states"] == "float32[1, 32, 16]"
    assert found.passed["return_dict"] == "False"
    arguments, returned = found.calls["transformer_blocks"]
    assert arguments["encoder_hidden_states"] == "float32[1, 24, 128]"
    assert returned == "(float32[1, 24, 128], float32[1, 32, 128])"
    assert found.timestep_scale == pytest.approx(1e-3)
    modules = pipeline.transformer.modules()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


@pytest.mark.parametrize(
    ("passed", "scheduled", "scale", "offset"),
    [
        ([0.9, 0.4], [900.0, 400.0], 1e-3, 0.0),
        ([0.1, 0.6], [900.0, 400.0], -1e-3, 1.0),
        ([900.0, 400.0], [900.0, 400.0], 1.0, 0.0),
        ([0.9, 0.9], [900.0, 900.0], None, 0.0),
        ([], [900.0], None, 0.0),
    ],
)
def test_the_timestep_is_a_line_through_what_was_passed(passed, scheduled, scale, offset) -> None:
    found = made(timesteps=(passed, scheduled))
    assert found.timestep_scale == (None if scale is None else pytest.approx(scale))
    assert found.timestep_offset == pytest.approx(offset)
    assert ("timestep_offset" in found.draft()) == (offset > 0)


def test_a_draft_is_a_family_with_what_was_seen() -> None:
    family = drafted(made())
    double, single = family.block_lists
    assert (family.name, family.pipelines) == ("Mine", ("MinePipeline",))
    assert (double.path, double.block_class, double.outputs, double.joined) == (
        *("double_blocks", "Double", ("image", "text")),
        False,
    )
    assert double.inputs == {"image": "hidden_states", "text": "encoder_hidden_states"}
    assert (single.outputs, single.joined) == (("text", "image"), True)
    assert family.guidance == made().guidance
    assert (family.grid_argument, family.timestep_argument) == ("img_ids", "timestep")
    assert family.timestep_scale == pytest.approx(1e-3)
    alone = drafted(made(returned={"double_blocks": 12, "single_blocks": 12}, passed={"timestep": ""}))
    assert [layout.outputs for layout in alone.block_lists] == [("image",)] * 2
    assert alone.grid_argument == "hidden_states"


@pytest.mark.parametrize("returned", [7, None, (7, 12)])
def test_a_draft_says_where_tokens_are_of_no_stream(returned) -> None:
    found = made(returned={"double_blocks": (12, 5), "single_blocks": returned})
    lines = {path: line for line in found.draft().splitlines() for path in found.lists if repr(path) in line}
    assert lines["single_blocks"].endswith(f"),  # it returns {returned} tokens")
    assert "#" not in lines["double_blocks"]
    assert drafted(found)


def test_guidance_that_was_not_told_is_left_to_be_filled_in() -> None:
    found = made(guidance=None)
    assert "guidance=?,  # " in found.draft()
    assert "guidance: not clear from the runs" in str(found)
