"""DINO with random weights: its own forward, on pixels that are made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pairs import IMAGES, OTHERS
from PIL import Image
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from ditscope import metrics
from ditscope.errors import InputError

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 28,
    "patch_size": 14,
}
PREPROCESSING = {
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 28, "width": 28},
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.25],
}


@pytest.fixture(scope="module", params=[(Dinov2Config, Dinov2Model), (ViTConfig, ViTModel)], ids=["v2", "v1"])
def model(request):
    config, network = request.param
    torch.manual_seed(0)
    made = network(config(**SMALL)).eval()
    for parameter in made.parameters():  # what starts as 0 or 1 would leave features much alike
        torch.nn.init.normal_(parameter, std=0.6)
    return made


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    return tmp_path


def by_hand(model, images) -> torch.Tensor:
    """Class tokens of images of 40 x 44 pixels: shortest edge to 32, the middle 28 x 28 of it."""
    cut = [np.asarray(Image.fromarray(each).resize((35, 32), Image.Resampling.BICUBIC)) for each in images]
    pixels = np.stack(cut)[:, 2:30, 3:31] / 255
    scaled = (pixels - np.array(PREPROCESSING["image_mean"])) / np.array(PREPROCESSING["image_std"])
    with torch.no_grad():
        return model(torch.from_numpy(scaled).permute(0, 3, 1, 2).float()).last_hidden_state[:, 0]


def test_is_the_cosine_of_the_class_tokens(model, folder):
    expected = torch.cosine_similarity(by_hand(model, IMAGES), by_hand(model, OTHERS))
    assert expected.max() < 0.999
    measure = metrics.METRICS["dino_similarity"].with_options(model=folder, batch_size=2)
    measure.open()
    found = measure(IMAGES, reference=OTHERS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(metrics.dino_similarity(IMAGES, IMAGES, model=folder), 1, atol=1e-12)


def test_is_opened_once(folder, monkeypatch):
    metrics.dino_similarity(IMAGES, OTHERS, model=folder)
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *a, **k: pytest.fail("opened again"))
    metrics.dino_similarity(IMAGES, OTHERS, model=folder)


def test_what_is_no_dino_is_refused_when_it_is_opened(clip, tmp_path):
    clip.save_pretrained(tmp_path / "clip")
    measure = metrics.METRICS["dino_similarity"]
    with pytest.raises(
        InputError, match=r"no DINO at .*\(a clip\); expected a folder or hub id with a Dinov2"
    ):
        measure.with_options(model=tmp_path / "clip").open()
    with pytest.raises(InputError, match="no DINO at .*Check the name"):
        measure.with_options(model=tmp_path).open()


def test_pairs_must_fit(folder):
    with pytest.raises(InputError, match="3 images and 2 reference"):
        metrics.dino_similarity(IMAGES, OTHERS[:2], model=folder)
