"""A checkpoint that lacks weights is refused, where the libraries would make them up."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import diffusers
import pytest
import transformers
from safetensors.torch import load_file, save_file

import ditscope as ds
from ditscope.errors import InputError
from ditscope.models.loaded_weights import whole_weights


@pytest.fixture
def folder(untrained_folder, tmp_path) -> Path:
    """A copy of the pipeline's folder, to be broken."""
    return Path(shutil.copytree(untrained_folder, tmp_path / "copy"))


LOADERS = (diffusers.ModelMixin, transformers.PreTrainedModel)
METHODS = [vars(each)["from_pretrained"] for each in LOADERS]


def alter(folder: Path, part: str, change) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


BLOCK = "transformer_blocks.1.attn.to_q.weight"
FINAL = "encoder.final_layer_norm.weight"


@pytest.mark.parametrize(
    ("part", "key", "network"),
    [
        ("transformer", BLOCK, r"transformer \(FluxTransformer2DModel\)"),
        ("vae", "decoder.conv_out.bias", r"vae \(AutoencoderKL\)"),
        ("text_encoder_2", FINAL, r"text_encoder_2 \(T5EncoderModel\)"),
    ],
)
def test_a_network_that_lacks_a_weight_is_refused_by_both_names(folder, part, key, network) -> None:
    alter(folder, part, lambda weights: weights.pop(key))
    with pytest.raises(InputError, match=rf"1 weights that {network} has not in its files.* \({key}\)"):
        ds.load(folder)


def test_many_weights_are_not_all_listed(folder) -> None:
    alter(folder, "transformer", lambda weights: [weights.pop(key) for key in list(weights)[:9]])
    with pytest.raises(InputError, match=r"9 weights that transformer .* and 4 more\)"):
        ds.load(folder)


def test_a_weight_that_others_are_tied_to_is_missed_with_them(folder) -> None:
    alter(folder, "text_encoder_2", lambda weights: weights.pop("shared.weight"))
    with pytest.raises(InputError, match=r"2 weights .*\(encoder.embed_tokens.weight, shared.weight\)"):
        ds.load(folder)


@pytest.mark.parametrize(
    ("part", "key", "words"),
    [
        ("transformer", BLOCK, f"diffusers cannot open .*{BLOCK} expected shape"),
        ("text_encoder_2", FINAL, rf"text_encoder_2 .*in another shape \({FINAL}\)"),
    ],
)
def test_a_weight_of_another_shape_is_refused_by_its_name(folder, part, key, words) -> None:
    alter(folder, part, lambda weights: weights.update({key: weights[key][:-1].clone()}))
    with pytest.raises(InputError, match=words):
        ds.load(folder)


def test_a_network_that_is_passed_is_the_callers_own(folder, dit) -> None:
    alter(folder, "transformer", lambda weights: weights.pop(BLOCK))
    mine = diffusers.FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer")
    assert ds.load(folder, transformer=mine).diffusers_pipeline.transformer is mine


def test_the_libraries_load_as_before_inside_and_afterwards(folder) -> None:
    alter(folder, "text_encoder_2", lambda weights: weights.pop(FINAL))

    def load() -> list[object]:
        kind, place = transformers.T5EncoderModel, folder / "text_encoder_2"
        _, info = kind.from_pretrained(place, output_loading_info=True)
        return [type(kind.from_pretrained(place)), set(info["missing_keys"])]

    told: list[list[object]] = []
    with whole_weights():  # what another thread loads is its own affair
        other = threading.Thread(target=lambda: told.append(load()))
        other.start()
        other.join()
    assert told == [load()] == [[transformers.T5EncoderModel, {FINAL}]]
    with pytest.raises(InputError, match="text_encoder_2"), whole_weights():
        load()
    with pytest.raises(KeyError), whole_weights():
        raise KeyError
    assert [vars(each)["from_pretrained"] for each in LOADERS] == METHODS
