from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pairs import UNIT
from PIL import Image

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.models.embedded import embedded_folder
from ditscope.shapes import networks


def test_equals_the_models_own_logits(clip, scorer, images, prompts):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        out = clip(input_ids=networks.caption_ids(prompts, start=True), pixel_values=pixels)
    expected = 100 * out.logits_per_image.diagonal().numpy() / clip.logit_scale.exp().item()
    np.testing.assert_allclose(scorer.score(images, prompts), expected, rtol=1e-4)


def test_batches_and_neighbours_do_not_matter(scorer, images, prompts):
    alone = [scorer.score(images[[i]], prompts[i]) for i in range(3)]
    np.testing.assert_allclose(scorer.score(images, prompts), np.concatenate(alone), rtol=1e-5)
    np.testing.assert_allclose(scorer.score(images / 255, prompts), np.concatenate(alone), rtol=1e-5)


def test_padding_does_not_matter(clip, scorer, prompts):
    tight = metrics.ClipScorer(clip, networks.tokenizer(start=True), **UNIT, max_length=12)
    np.testing.assert_allclose(tight.text_features(prompts), scorer.text_features(prompts), atol=1e-5)


def test_long_prompts_are_cut_aloud(scorer):
    with pytest.warns(UserWarning, match="cut to the 24"):
        scorer.text_features([" ".join(["red"] * 40)])


def test_other_sizes_are_resized_as_clip_does(scorer):
    big = np.random.default_rng(1).integers(0, 256, (1, 100, 150, 3), dtype=np.uint8)
    resized = Image.fromarray(big[0]).resize((96, 64), Image.Resampling.BICUBIC).crop((16, 0, 80, 64))
    np.testing.assert_allclose(
        scorer.image_features(big), scorer.image_features(np.asarray(resized)[None]), atol=1e-6
    )


def test_leaves_no_inference_mode_behind(scorer, images):
    scorer.feature_maps(images)
    assert not torch.is_inference_mode_enabled()


def test_feature_maps_have_a_shape(scorer, images):
    maps = scorer.feature_maps(images)
    assert [layer.shape for layer in maps] == [(3, 128, 8, 8)] * 4
    assert (metrics.feature_distance(images, np.roll(images, 1, axis=0), scorer.feature_maps) > 0).all()


def test_patches_are_in_reading_order(scorer):
    base = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    spot = base.copy()
    spot[0, 8:16, 40:48] = 255  # patch row 1, column 5
    embedded = scorer.model.vision_model.embeddings.patch_embedding
    change = abs(scorer.feature_maps(spot)[0] - scorer.feature_maps(base)[0]).sum(1)[0]
    assert np.unravel_index(change.argmax(), change.shape) == (1, 5)
    assert embedded.kernel_size == (8, 8)


def test_opens_a_folder_with_its_preprocessing(clip, scorer, images, prompts, tmp_path):
    clip.save_pretrained(tmp_path)
    networks.tokenizer(start=True).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**UNIT, "size": 64}))
    opened = metrics.ClipScorer.from_pretrained(tmp_path, batch_size=2)
    np.testing.assert_allclose(opened.score(images, prompts), scorer.score(images, prompts), rtol=1e-5)


def test_a_folder_without_a_clip_is_refused(tmp_path):
    with pytest.raises(InputError, match="no CLIP at"):
        metrics.ClipScorer.from_pretrained(tmp_path)


def test_pickled_weights_are_refused(clip, tmp_path):
    clip.config.save_pretrained(tmp_path)
    torch.save(clip.state_dict(), tmp_path / "pytorch_model.bin")
    networks.tokenizer(start=True).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no CLIP at"):
        metrics.ClipScorer.from_pretrained(tmp_path)


def test_the_embedded_clip_has_a_name(images):
    """That of the pipeline which it judges; a folder of that name is meant by its path."""
    named = metrics.ClipScorer.from_pretrained("shapes")
    assert named.fingerprint == metrics.ClipScorer.from_pretrained(embedded_folder() / "clip").fingerprint
    assert named.image_features(images).shape == (len(images), named.model.config.projection_dim)
