"""What a selection stands for, from a configuration alone; real recordings are in ``test_record``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.configuration import configuration_of
from ditscope.models.families import SD3
from ditscope.models.visits import Schedule
from ditscope.recording.selection import Selection

# The last three of five steps, as an image-to-image run makes them.
LATE = Schedule((0.5, 0.3, 0.1), (0.51, 0.31, 0.11), ("uncond", "cond"), doubled=True, first_step=2)


@pytest.fixture(scope="module")
def configuration():
    """SD3 in miniature: three joint blocks, of which the last returns no text."""
    sizes = {
        "num_layers": 3,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "joint_attention_dim": 16,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 16,
        "sample_size": 16,
        "pos_embed_max_size": 16,
    }
    return configuration_of(SD3, sizes, vae_pixels=8)


def schema_of(selection: Selection, configuration, schedule: Schedule = LATE):
    return selection.schema(
        configuration,
        schedule,
        tokens={"image": 6, "text": 5},
        grid=(2, 3),
        latent_channels=7,
        image_size=(32, 48),
        dtype="float32",
    )


def test_order_repetition_and_spelling_make_no_difference(configuration) -> None:
    plain = Selection.of(
        configuration,
        streams=("image", "text"),
        sites=("block_input", "block_output"),
        blocks=(0, 1),
        branches=("cond", "uncond"),
        channels=(3, 5, 15),
    )
    other = Selection.of(
        configuration,
        streams=iter(["text", "image", "text"]),
        sites=["block_output", "block_input"],
        blocks=[-2, configuration.blocks[0].name, np.int64(1)],
        branches=["uncond", "cond"],
        channels=np.array([15, 3, 5, 3]),
    )
    assert other == plain
    assert hash(other) == hash(plain)
    assert Selection.of(configuration).channels == tuple(range(16))


def test_a_late_start_keeps_each_step_with_its_own_noise_level(configuration) -> None:
    """Positions in the schedule are not step indices where a run does not begin at step 0."""
    selection = Selection.of(configuration, steps=[-1, 2], branches="uncond")
    assert selection.settled_steps(LATE) == (2, 4)
    schema = schema_of(selection, configuration)
    assert [(step.index, step.sigma, step.timestep) for step in schema.steps] == [
        (2, 0.5, 0.51),
        (4, 0.1, 0.11),
    ]
    assert [step.index for step in schema.trajectory.steps] == [2, 3, 4]
    assert schema.branches == ("uncond",)
    for step in (0, 5, -4):
        with pytest.raises(InputError, match=f"step {step}; expected steps 2 to 4"):
            Selection.of(configuration, steps=step).settled_steps(LATE)


def test_branches_are_in_the_order_of_the_labels_and_not_of_the_rows(configuration) -> None:
    selection = Selection.of(configuration)
    assert selection.settled_branches(LATE) == ("cond", "uncond")
    unguided = replace(LATE, branches=("cond",))
    assert selection.settled_branches(unguided) == ("cond",)
    with pytest.raises(InputError, match="branch 'uncond' in a call that visits cond; expected"):
        Selection.of(configuration, branches=["cond", "uncond"]).settled_branches(unguided)


def test_the_schema_names_what_is_kept_and_the_size_of_what_is_not(configuration) -> None:
    selection = Selection.of(configuration, streams=["text", "image"], blocks=[1], channels=[9, 2])
    schema = schema_of(selection, configuration)
    image, text = schema.streams
    assert (image.name, image.tokens, image.grid_height, image.grid_width) == ("image", 6, 2, 3)
    assert (text.name, text.tokens, text.has_grid) == ("text", 5, False)
    assert [(block.index, block.name) for block in schema.blocks] == [(1, configuration.blocks[1].name)]
    assert (schema.channels, schema.width) == ((2, 9), 16)
    assert (schema.trajectory.tokens, schema.trajectory.channels) == (6, 7)
    assert (schema.image_height, schema.image_width) == (32, 48)


def test_a_stream_is_refused_where_one_named_block_lacks_it(configuration) -> None:
    """And where every block does; without blocks named, each site and stream is kept of the blocks that have it."""
    with pytest.raises(UnsupportedError, match="stream 'text' asked of the last joint block at block_output"):
        Selection.of(configuration, streams=["image", "text"], blocks=[0, 1, 2])
    with pytest.raises(UnsupportedError, match="stream 'text' asked of the last joint block at block_output"):
        Selection.of(configuration, streams="text", blocks=[-1])
    every = Selection.of(configuration, streams=["image", "text"], sites=["block_input", "block_output"])
    assert every.places == {
        ("image", "block_input"): (0, 1, 2),
        ("image", "block_output"): (0, 1, 2),
        ("text", "block_input"): (0, 1, 2),
        ("text", "block_output"): (0, 1),
    }
    schema = schema_of(every, configuration)
    assert schema.site("text", "block_output").blocks == (0, 1)
    assert [block.index for block in schema.blocks] == [0, 1, 2]
    both = Selection.of(configuration, streams=["image", "text"], blocks=[0, 1])
    assert both.places == {("image", "block_output"): (0, 1), ("text", "block_output"): (0, 1)}
    for channels in ([], [16], [-1], [True], [1.0]):
        with pytest.raises(InputError, match="channels"):
            Selection.of(configuration, channels=channels)


def test_chosen_tokens_are_of_the_image_stream(configuration) -> None:
    chosen = Selection.of(configuration, streams=["text", "image"], blocks=[0], tokens=[4, 1, 4])
    image, text = schema_of(chosen, configuration).streams
    assert (image.token_ids, image.random_tokens, text.keeps_all) == ((1, 4), None, True)
    drawn = Selection.of(configuration, tokens=2)
    assert schema_of(drawn, configuration).streams[0].random_tokens == 2
