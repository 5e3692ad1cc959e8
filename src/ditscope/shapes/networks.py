"""Untrained parts of the embedded pipeline: the real diffusers and transformers classes, small.

Every size is written here, so that the training script and the tests build the same thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SanaTransformer2DModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BatchEncoding,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from ditscope.shapes.captions import words
from ditscope.shapes.scenes import PIXELS

if TYPE_CHECKING:
    from torch import nn

MAX_WORDS = 24
"""Length in tokens to which a caption is padded: the longest two-object caption and its end mark."""

TEXT_WIDTH = 64
LATENT_CHANNELS = 4
_PAD, _END, _START, _UNKNOWN = "<pad>", "</s>", "<s>", "<unk>"
_VOCABULARY = {word: number for number, word in enumerate((_PAD, _END, _START, _UNKNOWN, *words()))}


def tokenizer(*, start: bool) -> PreTrainedTokenizerFast:
    """Word-level tokenizer over the captions' vocabulary, with an end mark and, for CLIP, a start mark."""
    engine = Tokenizer(models.WordLevel(_VOCABULARY, unk_token=_UNKNOWN))
    engine.normalizer = normalizers.Lowercase()
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(_START, _VOCABULARY[_START]), (_END, _VOCABULARY[_END])]
    engine.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}" if start else f"$A {_END}",
        special_tokens=marks if start else marks[1:],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=engine,
        pad_token=_PAD,
        eos_token=_END,
        unk_token=_UNKNOWN,
        model_max_length=MAX_WORDS,
        **({"bos_token": _START} if start else {}),
    )


def encoded_captions(captions: list[str], *, start: bool) -> BatchEncoding:
    """``input_ids`` and ``attention_mask``, int64 ``[caption, token]``, padded to :data:`MAX_WORDS`."""
    return tokenizer(start=start)(
        captions, padding="max_length", max_length=MAX_WORDS, truncation=True, return_tensors="pt"
    )


def caption_ids(captions: list[str], *, start: bool) -> torch.Tensor:
    """Token ids int64 ``[caption, token]``, padded to :data:`MAX_WORDS`."""
    return encoded_captions(captions, start=start).input_ids


def autoencoder() -> AutoencoderKL:
    """Two levels, so that 64 pixels become 32 latents and, after FLUX's 2x2 packing, 16x16 tokens."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=PIXELS,
        scaling_factor=1.0,  # set to the data when trained
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def autoencoder_dc() -> AutoencoderDC:
    """SANA's autoencoder in three levels, so that 64 pixels become 16x16 latents, a token each."""
    levels: dict[str, Any] = {"block_out_channels": (16, 32, 64), "layers_per_block": (1, 1, 1)}
    levels |= {"qkv_multiscales": ((), (), ())}
    both = {f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in levels.items()}
    return AutoencoderDC(latent_channels=4 * LATENT_CHANNELS, **both)


def text_encoder_t5() -> T5EncoderModel:
    """The token-wise text encoder, trained along with the transformer."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(_VOCABULARY),
            d_model=TEXT_WIDTH,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=_VOCABULARY[_PAD],
            eos_token_id=_VOCABULARY[_END],
        )
    )


def text_encoder_gemma() -> Gemma2Model:
    """SANA's text encoder, each word seeing those before it, trained along with the transformer."""
    return Gemma2Model(
        Gemma2Config(
            vocab_size=len(_VOCABULARY),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=16,
            query_pre_attn_scalar=16,
            max_position_embeddings=MAX_WORDS,
            pad_token_id=_VOCABULARY[_PAD],
            bos_token_id=_VOCABULARY[_START],
            eos_token_id=_VOCABULARY[_END],
        )
    )


def _clip_text_config(*, layers: int, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_WORDS,
        pad_token_id=_VOCABULARY[_PAD],
        bos_token_id=_VOCABULARY[_START],
        eos_token_id=_VOCABULARY[_END],
    )


def text_encoder_clip() -> CLIPTextModel:
    """The pooled text encoder of the pipeline, trained along with the transformer."""
    return CLIPTextModel(_clip_text_config(layers=2, width=TEXT_WIDTH))


def clip() -> CLIPModel:
    """The text-image scorer: trained by itself, so that it is no part of what it scores."""
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=8,
    )
    text = _clip_text_config(layers=2, width=96)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=TEXT_WIDTH)
    )


def transformer() -> FluxTransformer2DModel:
    """FLUX.1's transformer: 4 double and 6 single blocks, 128 wide, without embedded guidance."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=4,
        num_single_layers=6,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def sana_transformer() -> SanaTransformer2DModel:
    """SANA's transformer: 8 blocks, 160 wide, with positions added to the tokens."""
    return SanaTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        out_channels=4 * LATENT_CHANNELS,
        num_layers=8,
        num_attention_heads=5,
        attention_head_dim=32,
        num_cross_attention_heads=5,
        cross_attention_head_dim=32,
        cross_attention_dim=160,
        caption_channels=TEXT_WIDTH,
        sample_size=PIXELS // 4,
        interpolation_scale=1,
    )


def initialise_sana(model: SanaTransformer2DModel) -> None:
    """As :func:`initialise_transformer`; text comes in where its attention has begun to put something out."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            _xavier(module, zero=name == "time_embed.linear" or name.endswith("attn2.to_out.0"))
    torch.nn.init.zeros_(model.proj_out.weight)


def initialise_transformer(model: FluxTransformer2DModel) -> None:
    """Xavier weights, zero biases, and zeros where DiT starts as the identity (Peebles & Xie 2023, 3.2)."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            _xavier(module, zero=".norm" in name and name.endswith("linear"))
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.norm_out.linear.weight)


def _xavier(layer: nn.Linear, *, zero: bool) -> None:
    if zero:
        torch.nn.init.zeros_(layer.weight)
    else:
        torch.nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Rectified-flow Euler sampling with the constant shift that suits 256 image tokens."""
    return FlowMatchEulerDiscreteScheduler(shift=2.0, use_dynamic_shifting=False)


def sana_scheduler() -> DPMSolverMultistepScheduler:
    """SANA's sampler, with the shift of :func:`scheduler`."""
    return DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0
    )
