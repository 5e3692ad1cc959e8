"""Tiny pipelines of other classes over the transformers of the families: inpainting, control, editing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers as d
import PIL.Image
import plain_hooks
import pytest
import torch
import transformers as t
from pictures import picture
from tiny_parts import HEADS, VOCABULARY, decoder_config, tokenizer

HEIGHT, WIDTH = 16, 24
PICTURE = picture(HEIGHT, WIDTH)
MASK = PIL.Image.new("L", (WIDTH, HEIGHT))
MASK.paste(255, (0, 0, WIDTH // 2, HEIGHT))

SIZE = {"height": HEIGHT, "width": WIDTH}
FLUX = {**SIZE, "max_sequence_length": 14}
HALF = {"image": PICTURE, "strength": 0.5, "num_inference_steps": 2}
"""One step of two."""
ONE = {"num_inference_steps": 1}
SANA = {
    **{"height": 64, "width": 96, **ONE, "max_sequence_length": 14},
    **{"use_resolution_binning": False, "clean_caption": False},
    "complex_human_instruction": ["user prompt"],
}


@dataclass(frozen=True)
class Made:
    """A pipeline over another's parts.

    Attributes:
        of: tiny pipeline whose parts it has.
        call: call arguments that suit it.
        parts: from the other's parts, those that it has beside or instead.
        tokens: image tokens of what is generated.
        conditioned: channels of the transformer's input beside those of the latents.
    """

    of: str
    call: Mapping[str, Any]
    parts: Callable[[Any], dict[str, Any]] = field(default=lambda _: {})
    tokens: int = 4 * 6
    conditioned: int = 0


def _filled(network: Any) -> Any:
    """With weights at which every block does something."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def _wider(in_channels: int, **changes: Any) -> Callable[[Any], dict[str, Any]]:
    """The transformer, with an input that has room for a picture or a mask."""

    def parts(pipeline: Any) -> dict[str, Any]:
        kind, config = type(pipeline.transformer), dict(pipeline.transformer.config)
        out = config["out_channels"] or config["in_channels"]
        changed = {**config, "in_channels": in_channels, "out_channels": out, **changes}
        return {"transformer": _filled(kind.from_config(changed))}

    return parts


def _control(kind: Any, **changes: Any) -> Callable[[Any], dict[str, Any]]:
    def parts(pipeline: Any) -> dict[str, Any]:
        return {"controlnet": _filled(kind.from_config({**pipeline.transformer.config, **changes}))}

    return parts


def _sixteen_channels(pipeline: Any) -> dict[str, Any]:
    """As many as the pipeline takes for granted, and room for a mask and a picture."""
    vae = d.AutoencoderKL.from_config({**pipeline.vae.config, "latent_channels": 16})
    return {"vae": vae.eval(), **_wider(33, out_channels=16)(pipeline)}


_FLUX_CONTROL = _control(d.FluxControlNetModel, num_layers=1, num_single_layers=1, **HEADS)


class PictureProcessor:
    """What Qwen's processor does with pictures and prompts, without its part for videos, which wants torchvision."""

    def __init__(self, words: Any) -> None:
        self.words, self.pictures = words, t.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56)

    def __call__(self, text: list[str], images: Any, **options: Any) -> Any:
        read = self.pictures(images=images, return_tensors="pt")
        for grid in read["image_grid_thw"]:  # four patches to a token
            count = int(grid.prod()) // 4
            text = [each.replace("<|image_pad|>", "<|seen|>" * count, 1) for each in text]
        text = [each.replace("<|seen|>", "<|image_pad|>") for each in text]
        return t.BatchFeature({**self.words(text, **options), **read})


def _reader_of_pictures(_: Any) -> dict[str, Any]:
    """A text encoder and a processor that take the picture with the prompt."""
    words = tokenizer(256)
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words.add_special_tokens({"additional_special_tokens": marks})
    start, end, image, video = (len(VOCABULARY) + number for number in range(4))
    text = decoder_config(t.Qwen2Config).to_dict()
    text = {key: value for key, value in text.items() if key != "model_type"}
    text |= {"rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}, "vocab_size": len(words)}
    vision = {
        **{"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        "fullatt_block_indexes": [0],
    }
    marked = {"image_token_id": image, "video_token_id": video}
    marked |= {"vision_start_token_id": start, "vision_end_token_id": end}
    config = t.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **marked)
    encoder = t.Qwen2_5_VLForConditionalGeneration(config).eval()
    return {"text_encoder": encoder, "tokenizer": words, "processor": PictureProcessor(words)}


CLASSES: dict[str, Made] = {
    "FluxInpaintPipeline": Made("flux", {**FLUX, **HALF, "mask_image": MASK}),
    "FluxFillPipeline": Made(
        "flux", {**FLUX, **ONE, "image": PICTURE, "mask_image": MASK}, _wider(48), conditioned=32
    ),
    "FluxControlPipeline": Made(
        "flux", {**FLUX, **ONE, "control_image": PICTURE}, _wider(32), conditioned=16
    ),
    "FluxControlImg2ImgPipeline": Made(
        "flux", {**FLUX, **HALF, "control_image": PICTURE}, _wider(32), conditioned=16
    ),
    "FluxControlInpaintPipeline": Made(
        "flux", {**FLUX, **HALF, "control_image": PICTURE, "mask_image": MASK}, _wider(32), conditioned=16
    ),
    "FluxControlNetPipeline": Made("flux", {**FLUX, **ONE, "control_image": PICTURE}, _FLUX_CONTROL),
    "FluxControlNetImg2ImgPipeline": Made("flux", {**FLUX, **HALF, "control_image": PICTURE}, _FLUX_CONTROL),
    "FluxControlNetInpaintPipeline": Made(
        "flux", {**FLUX, **HALF, "control_image": PICTURE, "mask_image": MASK}, _FLUX_CONTROL
    ),
    "FluxKontextInpaintPipeline": Made(
        "flux",
        {**FLUX, **HALF, "mask_image": MASK, "_auto_resize": False, "max_area": HEIGHT * WIDTH},
    ),
    "Flux2KleinInpaintPipeline": Made(
        "flux2-klein-base",
        {**SIZE, **HALF, "mask_image": MASK, "max_sequence_length": 20, "text_encoder_out_layers": [2]},
    ),
    "ChromaImg2ImgPipeline": Made("chroma", {**FLUX, **HALF}),
    "StableDiffusion3Img2ImgPipeline": Made("sd3", {**FLUX, **HALF}),
    "StableDiffusion3InpaintPipeline": Made("sd3", {**FLUX, **HALF, "mask_image": MASK}, _sixteen_channels),
    "StableDiffusion3ControlNetPipeline": Made(
        "sd3",
        {**FLUX, **ONE, "control_image": PICTURE},
        _control(d.SD3ControlNetModel, num_layers=2, extra_conditioning_channels=0),
    ),
    "StableDiffusion3ControlNetInpaintingPipeline": Made(
        "sd3",
        {**FLUX, **ONE, "control_image": PICTURE, "control_mask": MASK},
        _control(d.SD3ControlNetModel, num_layers=2, extra_conditioning_channels=1),
    ),
    "StableDiffusion3PAGPipeline": Made("sd3", {**FLUX, **ONE, "pag_scale": 0.0}),
    "QwenImageImg2ImgPipeline": Made("qwen-image", {**SIZE, **HALF, "negative_prompt": "plain"}),
    "QwenImageInpaintPipeline": Made(
        "qwen-image", {**SIZE, **HALF, "mask_image": MASK, "negative_prompt": "plain"}
    ),
    "QwenImageEditPipeline": Made(
        "qwen-image", {**SIZE, **ONE, "image": PICTURE, "negative_prompt": "plain"}, _reader_of_pictures
    ),
    "QwenImageEditPlusPipeline": Made(
        "qwen-image",
        {**SIZE, **ONE, "image": [PICTURE, PICTURE], "negative_prompt": "plain"},
        _reader_of_pictures,
    ),
    "QwenImageControlNetPipeline": Made(
        "qwen-image",
        {**SIZE, **ONE, "control_image": PICTURE, "negative_prompt": "plain"},
        _control(d.QwenImageControlNetModel, num_layers=2),
    ),
    "SanaPAGPipeline": Made("sana", {**SANA, "pag_scale": 0.0}, tokens=32 * 48),
    "SanaControlNetPipeline": Made(
        "sana",
        {**SANA, "control_image": picture(64, 96)},
        _control(d.SanaControlNetModel, num_layers=2),
        tokens=32 * 48,
    ),
    "CogView4ControlPipeline": Made(
        "cogview4",
        {"height": 32, "width": 48, **ONE, "control_image": picture(32, 48)},
        _wider(8),
        tokens=8 * 12,
    ),
}
"""Pipeline class -> a tiny one."""


def class_of(name: str) -> type:
    """The class of diffusers; a test of one that the installed version lacks is skipped."""
    if not hasattr(d, name):
        pytest.skip(f"diffusers {d.__version__} has no {name}")
    return getattr(d, name)


def make(name: str, folder_of: Callable[[str], Path]) -> Any:
    """The pipeline, over the very parts of a plain one that other tests run."""
    made, kind = CLASSES[name], class_of(name)
    plain = plain_hooks.opened(folder_of(made.of))
    torch.manual_seed(0)
    taken = inspect.signature(kind.__init__).parameters
    parts = {**plain.components, **made.parts(plain)}
    pipeline = kind(**{part: value for part, value in parts.items() if part in taken})
    if hasattr(pipeline, "prompt_template_encode_start_idx"):
        pipeline.prompt_template_encode_start_idx = 10
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
