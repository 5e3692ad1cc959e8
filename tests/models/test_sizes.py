"""The size that is generated, against plain arithmetic and the pipelines' own tables of trained sizes."""

from __future__ import annotations

import dataclasses

import pytest
from diffusers.pipelines.pixart_alpha import pipeline_pixart_alpha, pipeline_pixart_sigma

from ditscope.errors import InputError
from ditscope.models.sizes import Sizes

PACKED = Sizes("FluxPipeline", None, 1, token_pixels=16, rounds=True, sample_size=None, most_tokens=None)
BINNING = Sizes("PixArtSigmaPipeline", 8, 1, token_pixels=16, rounds=False, sample_size=32, most_tokens=None)


@pytest.mark.parametrize(
    ("asked", "made"),
    [((64, 48), (64, 48)), ((79, 63), (64, 48)), ((16, 31), (16, 16)), ((17, 320), (16, 320))],
)
def test_packed_latents_round_each_side_down_to_whole_tokens(asked, made) -> None:
    assert PACKED.generated(*asked, binned=False) == made


@pytest.mark.parametrize("asked", [(15, 64), (64, 15), (0, 64), (-16, 64)])
def test_an_image_without_a_whole_token_is_refused(asked) -> None:
    with pytest.raises(InputError, match="at least 16 pixels"):
        PACKED.generated(*asked, binned=False)


@pytest.mark.parametrize(
    ("token", "cell", "step", "multiple"),
    [(16, None, 1, 16), (4, 8, 1, 8), (12, 8, 1, 24), (4, None, 16, 16), (16, 6, 20, 240)],
)
def test_other_sizes_are_multiples_of_tokens_cells_and_steps_alike(token, cell, step, multiple) -> None:
    sizes = Sizes("P", cell, step, token_pixels=token, rounds=False, sample_size=None, most_tokens=None)
    for side in range(-multiple, 3 * multiple):
        if side in (multiple, 2 * multiple):
            assert sizes.generated(multiple, side, binned=False) == (multiple, side)
        else:
            for asked in ((multiple, side), (side, multiple)):
                with pytest.raises(InputError, match=rf"multiples of {multiple}\."):
                    sizes.generated(*asked, binned=False)


@pytest.mark.parametrize("asked", [(112, 16), (16, 112)])
def test_positions_bound_either_side(asked) -> None:
    sizes = dataclasses.replace(BINNING, most_tokens=6)
    assert sizes.generated(96, 96, binned=False) == (96, 96)
    with pytest.raises(InputError, match="at most 96 pixels"):
        sizes.generated(*asked, binned=False)


@pytest.mark.parametrize("asked", [(512, 512), (300, 700), (97, 31), (1, 1000), (1000, 1)])
@pytest.mark.parametrize(
    ("sample_size", "table"),
    [
        (32, pipeline_pixart_alpha.ASPECT_RATIO_256_BIN),
        (128, pipeline_pixart_alpha.ASPECT_RATIO_1024_BIN),
        (256, pipeline_pixart_sigma.ASPECT_RATIO_2048_BIN),
    ],
)
def test_a_binned_size_has_the_nearest_ratio_of_the_checkpoints_own_table(sample_size, table, asked) -> None:
    found = dataclasses.replace(BINNING, sample_size=sample_size).generated(*asked, binned=True)
    nearest = min(table, key=lambda ratio: abs(float(ratio) - asked[0] / asked[1]))
    assert list(found) == [int(side) for side in table[nearest]]
