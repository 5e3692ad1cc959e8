"""A pipeline folder holds the trained parts, and the call arguments that suit them."""

from __future__ import annotations

import json

import numpy as np
import torch
from diffusers import DiffusionPipeline, SanaPipeline

from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.shapes import load_oracle, make_scenes, networks
from ditscope.shapes.assembly import CALL, assemble, assemble_sana, save_clip, save_oracle, save_pipeline
from ditscope.shapes.oracle import Oracle
from ditscope.shapes.training.generators import FluxGenerator, SanaGenerator


def test_a_pipeline_is_made_of_the_trained_parts_and_saved_with_its_call(tmp_path) -> None:
    generator, autoencoder = FluxGenerator(), networks.autoencoder()
    parts = {
        "transformer": generator.transformer,
        "text_encoder": generator.clip_text,
        "text_encoder_2": generator.t5,
        "vae": autoencoder,
    }
    opened = saved_and_opened(assemble(generator, autoencoder), parts, tmp_path)
    # CLIP pools at a mark of its own, T5 reads from the first word on.
    assert [opened.tokenizer.bos_token, opened.tokenizer_2.bos_token] == ["<s>", None]


def test_the_sana_pipeline_likewise(tmp_path) -> None:
    generator, autoencoder = SanaGenerator(), networks.autoencoder_dc()
    parts = {"transformer": generator.transformer, "text_encoder": generator.gemma, "vae": autoencoder}
    opened = saved_and_opened(assemble_sana(generator, autoencoder), parts, tmp_path)
    assert type(opened) is SanaPipeline
    assert opened.scheduler.config.flow_shift == networks.scheduler().config.shift
    assert opened.vae_scale_factor == 4


def saved_and_opened(pipeline, parts, folder):
    assert all(getattr(pipeline, name) is part for name, part in parts.items())
    save_pipeline(pipeline, folder, {"height": 32})
    assert json.loads((folder / "ditscope.json").read_text()) == {"call": {"height": 32}}
    opened = DiffusionPipeline.from_pretrained(folder)
    for name, part in parts.items():
        for weight, saved in zip(part.parameters(), getattr(opened, name).parameters(), strict=True):
            assert torch.equal(weight, saved)
    return opened


def test_a_pipeline_is_called_as_it_was_trained_unless_told_otherwise(untrained_folder) -> None:
    saved = json.loads((untrained_folder / "ditscope.json").read_text())["call"]
    assert saved == CALL
    assert (saved["height"], saved["width"], saved["max_sequence_length"]) == (64, 64, 24)


def test_a_saved_scorer_is_opened_with_its_own_tokenizer_and_preprocessing(tmp_path) -> None:
    torch.manual_seed(0)
    model = networks.clip().eval()
    save_clip(model, tmp_path / "clip")
    scenes = list(make_scenes(3, 1))
    images, captions = np.stack([scene.image for scene in scenes]), [scene.caption for scene in scenes]
    with torch.no_grad():
        output = model(
            input_ids=networks.caption_ids(captions, start=True),
            pixel_values=torch.from_numpy(images / 127.5 - 1).permute(0, 3, 1, 2).float(),
        )
    cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds).numpy()
    found = ClipScorer.from_pretrained(str(tmp_path / "clip")).score(images, captions)
    np.testing.assert_allclose(found, 100 * cosine, rtol=1e-4)


def test_a_saved_oracle_answers_as_before(tmp_path) -> None:
    torch.manual_seed(0)
    oracle = Oracle().eval()
    images = np.stack([scene.image for scene in make_scenes(8, 1)])
    save_oracle(oracle, tmp_path / "oracle")
    assert np.array_equal(load_oracle(tmp_path / "oracle").answers(images), oracle.answers(images))
