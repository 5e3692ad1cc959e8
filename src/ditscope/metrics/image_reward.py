"""Which image people would prefer for a prompt, by ImageReward."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics._pretrained import Pixels, opened, weights
from ditscope.metrics.aesthetic_score import linear_layers, through
from ditscope.metrics.clip_scorer import CLIP_MEAN, CLIP_STD
from ditscope.metrics.metric import metric

if TYPE_CHECKING:
    import torch

__all__ = ["image_reward"]

_WORDS = 35  # tokens that a prompt is padded or cut to
_MEAN, _STD = 0.16717362830052426, 1.0333394966054072  # of rewards over the training set, as published
_HEAD = 64  # width of an attention head, in both networks of every BLIP
_VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm.": "post_layernorm.",
    "blocks.": "encoder.layers.",
    ".attn.proj": ".self_attn.projection",
    ".attn.": ".self_attn.",
    ".norm1": ".layer_norm1",
    ".norm2": ".layer_norm2",
}
"""Parts of names in BLIP's own code, and in transformers."""


class _Reward:
    """ImageReward's two networks, as transformers has them, and its head."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], tokenizer: Any, device: str | None) -> None:
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        vision, text = (
            {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
            for part in ("blip.visual_encoder.", "blip.text_encoder.")
        )
        self.tokenizer = tokenizer
        self.head = linear_layers({name: tensors[name] for name in tensors if name.startswith("mlp.")})
        patch = vision["patch_embed.proj.weight"]
        side = round((vision["pos_embed"].shape[1] - 1) ** 0.5)
        words = text["embeddings.word_embeddings.weight"]
        self.pixels = Pixels(side * patch.shape[-1], CLIP_MEAN, CLIP_STD)
        self.vision = BlipVisionModel(
            BlipVisionConfig(
                hidden_size=len(patch),
                intermediate_size=len(vision["blocks.0.mlp.fc1.weight"]),
                num_hidden_layers=_layers(vision, "blocks"),
                num_attention_heads=len(patch) // _HEAD,
                image_size=self.pixels.size,
                patch_size=patch.shape[-1],
                layer_norm_eps=1e-6,
            )
        )
        self.text = BlipTextModel(
            BlipTextConfig(
                vocab_size=len(words),
                hidden_size=words.shape[1],
                encoder_hidden_size=len(patch),
                intermediate_size=len(text["encoder.layer.0.intermediate.dense.weight"]),
                num_hidden_layers=_layers(text, "encoder.layer"),
                num_attention_heads=words.shape[1] // _HEAD,
                max_position_embeddings=len(text["embeddings.position_embeddings.weight"]),
                layer_norm_eps=1e-12,
            ),
            add_pooling_layer=False,
        )
        self.vision.load_state_dict({_vision_name(name): tensor for name, tensor in vision.items()})
        self.text.load_state_dict({name: text[name] for name in text if not name.endswith("position_ids")})
        for network in (self.vision, self.text):
            network.eval().to(device or "cpu")

    def score(self, images: Any, prompts: Sequence[str], batch_size: int) -> np.ndarray:
        """Rewards of images ``[image, y, x, rgb]``: ``[image]``."""
        import torch

        device, rewards = self.text.device, []
        for number, pixels in enumerate(self.pixels.batches(images, batch_size)):
            asked = list(prompts[number * batch_size :][: len(pixels)])
            words = self.tokenizer(
                asked, padding="max_length", truncation=True, max_length=_WORDS, return_tensors="pt"
            ).to(device)
            with torch.inference_mode():
                seen = self.vision(pixel_values=pixels.to(device)).last_hidden_state
                read = self.text(
                    input_ids=words["input_ids"],
                    attention_mask=words["attention_mask"],
                    encoder_hidden_states=seen,
                    encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=device),
                ).last_hidden_state[:, 0]
            rewards.append(through(self.head, read.double().cpu().numpy()))
        return (np.concatenate(rewards) - _MEAN) / _STD


def _layers(tensors: Mapping[str, torch.Tensor], under: str) -> int:
    return 1 + max(
        int(name[len(under) + 1 :].split(".")[0]) for name in tensors if name.startswith(f"{under}.")
    )


def _vision_name(name: str) -> str:
    for theirs, ours in _VISION.items():
        if name.startswith(theirs) or (theirs.startswith(".") and theirs in name):
            name = name.replace(theirs, ours, 1)
    return name


@functools.cache
def _opened(model: str | Path, tokenizer: str | Path, device: str | None) -> _Reward:
    from transformers import AutoTokenizer

    words = opened("tokenizer", "BERT's tokenizer", tokenizer, AutoTokenizer.from_pretrained)
    needed = "ImageReward's tensors in model.safetensors, under the names of its own code"
    return opened("ImageReward", needed, model, lambda source: _Reward(weights(source), words, device))


@metric("ImageReward", damage="lower", opens=_opened)
def image_reward(
    images: Any,
    prompts: Sequence[str],
    *,
    model: str | Path = "RE-N-Y/ImageReward",
    tokenizer: str | Path = "google-bert/bert-base-uncased",
    device: str | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """ImageReward 1.0 (Xu et al. 2023), by transformers' BLIP: its authors' package needs an older transformers.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        prompts: one for each image; what is over 35 tokens is cut, as its authors do.
        model: a folder or hub id with its ``model.safetensors``; kept once it is open.
        tokenizer: of BERT, uncased.
        device: where to run; None for the CPU.
        batch_size: images in each call of the networks.

    Returns:
        float64 ``[image]``, of mean 0 and standard deviation 1 over its training set.

    Raises:
        InputError: the model is not there, or there is not one prompt for each image.

    Examples:
        >>> metric = ds.metrics.METRICS["image_reward"].with_options(device="cuda")  # for ds.compare
    """
    images, prompts = stacked(images), checks.prompts(prompts)
    if len(images) != len(prompts):
        raise InputError(
            f"{len(images)} images and {len(prompts)} prompts", "one prompt per image", "Pair them."
        )
    return _opened(model, tokenizer, device).score(images, prompts, batch_size)
