"""What a pipeline's configuration says without its weights is what the opened pipeline says."""

from __future__ import annotations

import json
import shutil

import pytest

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.configuration import latent_cell_pixels, read_configuration


@pytest.fixture(scope="module")
def configuration(untrained_folder):
    return read_configuration(str(untrained_folder))


def test_blocks_width_and_latents_are_those_of_the_opened_pipeline(dit, configuration) -> None:
    transformer = dit.diffusers_pipeline.transformer
    assert [(block.index, block.name, block.kind) for block in configuration.blocks] == [
        (block.index, block.name, block.kind) for block in dit.blocks
    ]
    assert configuration.width == dit.width
    assert configuration.token_latent_channels == transformer.config.in_channels
    assert configuration.sizes.token_pixels == dit.token_pixels


def test_a_size_in_pixels_is_a_grid_of_tokens(dit, configuration) -> None:
    pixels = dit.token_pixels
    assert configuration.grid(2 * pixels, 3 * pixels) == (2, 3)
    assert configuration.image_size(2 * pixels, 3 * pixels) == (2 * pixels, 3 * pixels)


def test_branches_are_those_that_the_call_asks_for(configuration) -> None:
    assert configuration.full_call["true_cfg_scale"] > 1
    assert configuration.branches() == ("cond", "uncond")
    assert configuration.branches(guided=True) == ("cond", "uncond")
    assert configuration.branches(guided=False) == ("cond",)


def test_the_folders_own_call_arguments_count(configuration, untrained_folder) -> None:
    call = json.loads((untrained_folder / "ditscope.json").read_text())["call"]
    assert call.items() <= dict(configuration.full_call).items()


def test_no_weights_are_read(untrained_folder, configuration, tmp_path) -> None:
    folder = shutil.copytree(untrained_folder, tmp_path / "a", ignore=shutil.ignore_patterns("*.safetensors"))
    assert read_configuration(str(folder)).blocks == configuration.blocks


def test_a_pipeline_that_is_not_there_or_not_whole_is_refused(untrained_folder, tmp_path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_configuration(str(tmp_path / "nowhere"))
    index = json.loads((untrained_folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "vae": [None, None]}))
    shutil.copytree(untrained_folder / "transformer", tmp_path / "transformer")
    with pytest.raises(InputError, match="without a vae of diffusers"):
        read_configuration(str(tmp_path))


@pytest.mark.parametrize(
    ("autoencoder", "pixels"),
    [
        ({"block_out_channels": [8, 8, 8]}, 4),
        ({"encoder_block_out_channels": [8, 8], "block_out_channels": [8]}, 2),
        ({"temperal_downsample": [True, False, False]}, 8),
    ],
)
def test_a_latent_cell_is_halved_as_often_as_the_autoencoder_says(autoencoder, pixels) -> None:
    assert latent_cell_pixels(autoencoder) == pixels


def test_an_autoencoder_that_does_not_say_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="class Mine with entries _class_name"):
        latent_cell_pixels({"_class_name": "Mine"})
