"""The predictor's head with random weights on a CLIP with random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pairs import UNIT
from safetensors.torch import save_file
from torch import nn

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.shapes import networks


def head(width: int) -> nn.Sequential:
    torch.manual_seed(1)
    layers = nn.Linear(width, 24), nn.Dropout(0.2), nn.Linear(24, 8), nn.Dropout(0.1), nn.Linear(8, 1)
    return nn.Sequential(*layers).eval()


def save(layers: nn.Sequential, folder, prefix="") -> None:
    tensors = {f"{prefix}layers.{name}": tensor for name, tensor in layers.state_dict().items()}
    # As beside a whole model, whose own layers are not the head's.
    tensors["vision_model.encoder.layers.0.self_attn.q_proj.weight"] = torch.ones(2, 2)
    save_file(tensors, folder / "model.safetensors")


@pytest.fixture(scope="module")
def clip_folder(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    clip.save_pretrained(path)
    networks.tokenizer(start=True).save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps({"size": 64, **UNIT}))
    return path


@pytest.mark.parametrize("prefix", ["", "predictor."])
def test_is_the_head_on_features_of_unit_length(scorer, clip_folder, images, prefix, tmp_path):
    features = torch.from_numpy(scorer.image_features(images))
    layers = head(features.shape[1])
    save(layers, tmp_path, prefix)
    with torch.inference_mode():
        expected = layers(features)[:, 0]
    measure = metrics.METRICS["aesthetic_score"].with_options(model=tmp_path, clip=clip_folder)
    measure.open()
    np.testing.assert_allclose(measure(images), expected, rtol=1e-4)


def test_what_does_not_fit_is_refused_when_it_is_opened(clip_folder, tmp_path):
    save(head(5), tmp_path)
    measure = metrics.METRICS["aesthetic_score"]
    with pytest.raises(InputError, match=r"a CLIP with \d+ features; expected the 5 that the head"):
        measure.with_options(model=tmp_path, clip=clip_folder).open()
    with pytest.raises(InputError, match="no aesthetic predictor at .*layers.N.weight"):
        measure.with_options(model=clip_folder, clip=clip_folder).open()
    with pytest.raises(InputError, match=r"no aesthetic predictor at .*model\.safetensors"):
        measure.with_options(model=tmp_path.parent).open()
