"""The CLIPs of preferences with random weights, against the model's own forward."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pairs import UNIT

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.shapes import networks


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("preference")
    clip.save_pretrained(path)
    networks.tokenizer(start=True).save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps({"size": 64, **UNIT}))
    return path


def test_scores_are_the_models_own_logits(clip, folder, images, prompts):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        out = clip(input_ids=networks.caption_ids(prompts, start=True), pixel_values=pixels)
    logits = out.logits_per_image.diagonal().numpy()
    found = {}
    for name in ("hpsv2", "pickscore"):
        measure = metrics.METRICS[name].with_options(model=folder)
        measure.open(prompts)
        found[name] = measure(images, prompts=prompts)
    np.testing.assert_allclose(found["pickscore"], logits, rtol=1e-4)
    np.testing.assert_allclose(found["hpsv2"], 100 * logits / clip.logit_scale.exp().item(), rtol=1e-4)


def test_an_absent_model_is_told_when_it_is_opened(tmp_path):
    with pytest.raises(InputError, match="no CLIP at .*CLIPModel in safetensors"):
        metrics.METRICS["hpsv2"].with_options(model=tmp_path).open()
