"""ImageReward with random weights under the names of its authors' code, against transformers' whole BLIP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pairs import IMAGES
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import BlipConfig, BlipForImageTextRetrieval, PreTrainedTokenizerFast

from ditscope import metrics
from ditscope.errors import InputError
from ditscope.metrics.clip_scorer import CLIP_MEAN, CLIP_STD

WORDS = ["[PAD]", "[CLS]", "[UNK]", "a", "red", "circle", "small", "blue", "square"]
PROMPTS = [
    "a red circle",
    "a small blue square",
    " ".join(["red"] * 33 + ["square", "small", "blue", "a"] * 4),
]
THEIRS = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "post_layernorm": "norm",
    "encoder.layers": "blocks",
    "self_attn.projection": "attn.proj",
    "self_attn.qkv": "attn.qkv",
    "layer_norm": "norm",
}


def theirs(name: str) -> str:
    for mine, other in THEIRS.items():
        name = name.replace(mine, other)
    return name


@pytest.fixture(scope="module")
def blip():
    small = {"num_hidden_layers": 2, "intermediate_size": 96}
    config = BlipConfig(
        vision_config={
            "hidden_size": 128,
            "num_attention_heads": 2,
            "image_size": 32,
            "layer_norm_eps": 1e-6,
            **small,
        },
        text_config={
            "hidden_size": 64,
            "num_attention_heads": 1,
            "encoder_hidden_size": 128,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 48,
            "bos_token_id": 1,
            "sep_token_id": 2,
            **small,
        },
        image_text_hidden_size=16,
    )
    torch.manual_seed(0)
    model = BlipForImageTextRetrieval(config).eval()
    for parameter in model.parameters():  # the usual spread would hide a scale that is left out
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(2)
    layers = nn.Linear(64, 24), nn.Dropout(0.2), nn.Linear(24, 8), nn.Linear(8, 1)
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    )


@pytest.fixture(scope="module")
def folder(blip, head, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("reward")
    tensors = {
        f"blip.visual_encoder.{theirs(name)}": value for name, value in blip.vision_model.state_dict().items()
    }
    tensors |= {f"blip.text_encoder.{name}": value for name, value in blip.text_encoder.state_dict().items()}
    tensors |= {f"mlp.layers.{name}": value for name, value in head.state_dict().items()}
    tensors["blip.text_encoder.embeddings.position_ids"] = torch.arange(48)[None]
    tensors["blip.text_proj.weight"] = torch.ones(2, 2)
    save_file(tensors, path / "model.safetensors")
    tokenizer.save_pretrained(path)
    return path


def test_is_the_head_on_the_first_token_of_the_text_that_looks_at_the_image(blip, head, tokenizer, folder):
    cut = [np.asarray(Image.fromarray(each).resize((35, 32), Image.Resampling.BICUBIC)) for each in IMAGES]
    pixels = (np.stack(cut)[:, :, 1:33] / 255 - CLIP_MEAN) / CLIP_STD
    words = tokenizer(PROMPTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    with torch.inference_mode():
        read = blip(
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
            pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2).float(),
        ).question_embeds
        rewards = head(read[:, 0])[:, 0]
    expected = (rewards - 0.16717362830052426) / 1.0333394966054072
    assert expected.std() > 0.01
    measure = metrics.METRICS["image_reward"].with_options(model=folder, tokenizer=folder, batch_size=2)
    measure.open(PROMPTS)
    np.testing.assert_allclose(measure(IMAGES, prompts=PROMPTS), expected, atol=1e-5)


def test_what_is_absent_is_told_when_it_is_opened(folder, tmp_path):
    measure = metrics.METRICS["image_reward"]
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no ImageReward at .*under the names of its own code"):
        measure.with_options(model=tmp_path, tokenizer=folder).open()
    with pytest.raises(InputError, match="no tokenizer at"):
        measure.with_options(model=folder, tokenizer=tmp_path).open()
    with pytest.raises(InputError, match="3 images and 2 prompts"):
        metrics.image_reward(IMAGES, PROMPTS[:2], model=folder, tokenizer=folder)
