"""Text-image agreement by a CLIP of the transformers library.

CLIP can be blind to large changes of an image (arXiv 2605.09313), so it is never reported alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics._pretrained import Pixels, opened
from ditscope.vocabulary import EMBEDDED_NAMES

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel, PreTrainedTokenizerBase

__all__ = ["ClipScorer"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Of OpenAI's CLIP, per colour, of values from 0 to 1."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CONVENTIONS = ("cosine", "hessel")


class ClipScorer:
    """Cosine of CLIP's image and text features.

    Args:
        model: a CLIPModel.
        tokenizer: its tokenizer.
        image_mean: per colour, subtracted from values of 0 to 1.
        image_std: per colour.
        size: edge in pixels that the model takes; None asks the model.
        max_length: tokens that captions are padded to; None asks the model.
        batch_size: images or captions per forward pass.
        device: where to run; None leaves the model where it is.

    Examples:
        >>> clip = ds.metrics.ClipScorer.from_pretrained("shapes")  # or a folder, or a hub id
        >>> clip.score(cache.images, prompts).shape
        (4,)
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        size: int | None = None,
        max_length: int | None = None,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.model = model.eval() if device is None else model.to(device).eval()
        self.tokenizer = tokenizer
        config: Any = model.config
        self.pixels = Pixels(int(size or config.vision_config.image_size), image_mean, image_std)
        self.max_length = int(max_length or config.text_config.max_position_embeddings)
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, device: str | None = None, batch_size: int = 32, **kwargs: Any
    ) -> ClipScorer:
        """Open a CLIP from a folder or the hub, with safetensors weights only.

        ``preprocessor_config.json`` beside the weights gives ``image_mean``, ``image_std`` and ``size``;
        without it OpenAI's values are used.

        Args:
            name_or_path: a folder or a hub id; ``shapes``, or another embedded pipeline's name, for the embedded CLIP,
                which knows captions of the embedded world alone.
            device: where to run.
            batch_size: per forward pass.
            **kwargs: for ``CLIPModel.from_pretrained``, such as ``revision``.

        Raises:
            InputError: if it cannot be opened as a CLIP.
        """
        from transformers import AutoTokenizer, CLIPModel

        from ditscope.models.embedded import embedded_folder

        def load(source: str) -> ClipScorer:
            model = CLIPModel.from_pretrained(source, use_safetensors=True, **kwargs)
            tokenizer = AutoTokenizer.from_pretrained(source)
            scorer = cls(model, tokenizer, device=device, batch_size=batch_size)
            scorer.pixels = Pixels.of(source, scorer.pixels.size, CLIP_MEAN, CLIP_STD)
            return scorer

        if name_or_path in EMBEDDED_NAMES:
            name_or_path = embedded_folder() / "clip"
        return opened("CLIP", "a CLIPModel in safetensors and its tokenizer", name_or_path, load)

    def score(self, images: Any, prompts: Sequence[str], *, convention: str = "cosine") -> np.ndarray:
        """Agreement of each image with its prompt.

        Args:
            images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
            prompts: one per image.
            convention: ``cosine`` is 100 cos; ``hessel`` is CLIPScore, 2.5 max(cos, 0)
                (Hessel et al. 2021, section 3).

        Returns:
            float64 ``[image]``.
        """
        checks.name_of("convention", convention, CONVENTIONS)
        images = stacked(images)
        prompts = checks.prompts(prompts)
        if len(prompts) != len(images):
            raise InputError(
                f"{len(images)} images and {len(prompts)} prompts", "one prompt per image", "Pair them."
            )
        cosine = (self.image_features(images).astype(np.float64) * self.text_features(prompts)).sum(-1)
        return 2.5 * np.maximum(cosine, 0) if convention == "hessel" else 100 * cosine

    def image_features(self, images: Any) -> np.ndarray:
        """Unit vectors float32 ``[image, feature]`` of images ``[image, y, x, rgb]``."""

        def project(pixels: torch.Tensor) -> list[np.ndarray]:
            return [
                _unit(
                    self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)
                )
            ]

        return self._over_batches(images, project)[0]

    def text_features(self, prompts: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 ``[prompt, feature]``; a repeated prompt is encoded once."""
        import torch

        prompts = checks.prompts(prompts)
        distinct = list(dict.fromkeys(prompts))
        longest = max(len(ids) for ids in self.tokenizer(distinct)["input_ids"])
        if longest > self.max_length:
            warnings.warn(
                f"a prompt has {longest} tokens and is cut to the {self.max_length} that this CLIP reads.",
                stacklevel=2,
            )
        parts = []
        for start in range(0, len(distinct), self.batch_size):
            encoded = self.tokenizer(
                distinct[start : start + self.batch_size],
                padding="max_length",
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                text = self.model.text_model(
                    input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
                )
                parts.append(_unit(self.model.text_projection(text.pooler_output)))
        return np.concatenate(parts)[[distinct.index(prompt) for prompt in prompts]]

    def feature_maps(self, images: Any) -> list[np.ndarray]:
        """Patch features of every vision layer, float32 ``[image, channel, y, x]`` each."""

        def patches(pixels: torch.Tensor) -> list[np.ndarray]:
            states = self.model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
            return [state[:, 1:].float().cpu().numpy() for state in states[1:]]  # token 0 is the class

        layers = self._over_batches(images, patches)
        edge = round(layers[0].shape[1] ** 0.5)
        return [layer.transpose(0, 2, 1).reshape(len(layer), -1, edge, edge) for layer in layers]

    def _over_batches(
        self, images: Any, forward: Callable[[torch.Tensor], list[np.ndarray]]
    ) -> list[np.ndarray]:
        """Arrays ``[image, ...]`` of ``forward``, which gets model input ``[image, rgb, y, x]``."""
        import torch

        parts = []
        for pixels in self.pixels.batches(images, self.batch_size):
            with torch.inference_mode():
                parts.append(forward(pixels.to(self.model.device, self.model.dtype)))
        return [np.concatenate(one) for one in zip(*parts, strict=True)]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what decides its numbers: weights, tokenizer, and how it takes images and captions."""
        from ditscope.metrics._identity import digest_of

        return digest_of([self.model, self.tokenizer, vars(self.pixels), self.max_length])

    def __repr__(self) -> str:
        return f"ClipScorer({self.pixels.size} pixels, {self.max_length} tokens, on {self.model.device})"


def _unit(features: torch.Tensor) -> np.ndarray:
    values = features.detach().float().cpu().numpy()
    return values / np.linalg.norm(values, axis=-1, keepdims=True)
