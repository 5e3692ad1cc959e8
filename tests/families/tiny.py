"""A tiny random pipeline of every family: the real classes, small."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers as d
import torch
import transformers as t
from tiny_parts import HEADS, PROMPTS, VOCABULARY, autoencoder, clip, decoder_config, flow, t5, tokenizer

__all__ = ["PROMPTS", "TINY", "built", "save"]


def flux(kind: Any = d.FluxPipeline, embedded: bool = False) -> Any:
    transformer = d.FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=embedded,
        axes_dims_rope=(4, 6, 6),
        **HEADS,
    )
    parts = {
        "text_encoder": clip(t.CLIPTextModel),
        "tokenizer": tokenizer(),
        "text_encoder_2": t5(),
        "tokenizer_2": tokenizer(),
    }
    return kind(scheduler=flow(), vae=autoencoder(), transformer=transformer, **parts)


def flux2_transformer(embedded: bool) -> Any:
    return d.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=3,
        joint_attention_dim=16,
        guidance_embeds=embedded,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        **HEADS,
    )


def flux2_autoencoder() -> Any:
    return d.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def flux2_klein(distilled: bool = False) -> Any:
    return d.Flux2KleinPipeline(
        scheduler=flow(),
        vae=flux2_autoencoder(),
        text_encoder=t.Qwen3ForCausalLM(decoder_config(t.Qwen3Config)),
        tokenizer=tokenizer(24),
        transformer=flux2_transformer(embedded=False),
        is_distilled=distilled,
    )


def flux2_dev() -> Any:
    text = t.Mistral3ForConditionalGeneration(
        t.Mistral3Config(
            text_config=decoder_config(t.MistralConfig).to_dict(),
            vision_config=t.PixtralVisionConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=16,
            ).to_dict(),
            image_token_index=3,
        )
    )
    return d.Flux2Pipeline(
        scheduler=flow(),
        vae=flux2_autoencoder(),
        text_encoder=text,
        tokenizer=tokenizer(24),
        transformer=flux2_transformer(embedded=True),
    )


def qwen_image() -> Any:
    text = t.Qwen2_5_VLForConditionalGeneration(
        t.Qwen2_5_VLConfig(
            text_config={
                **{
                    key: value
                    for key, value in decoder_config(t.Qwen2Config).to_dict().items()
                    if key != "model_type"
                },
                "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]},
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
                "fullatt_block_indexes": [0],
            },
            image_token_id=3,
            video_token_id=3,
            vision_start_token_id=3,
            vision_end_token_id=3,
        )
    )
    vae = d.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = d.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=3,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
        **HEADS,
    )
    return d.QwenImagePipeline(
        scheduler=flow(),
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer(128),
        transformer=transformer,
    )


def sana() -> Any:
    vae = d.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
    )
    transformer = d.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=3,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=16,
        sample_size=32,
        **HEADS,
    )
    return d.SanaPipeline(
        tokenizer=tokenizer(64),
        text_encoder=t.Gemma2Model(decoder_config(t.Gemma2Config)),
        vae=vae,
        transformer=transformer,
        scheduler=d.DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
        ),
    )


def sd3(dual: tuple[int, ...] = ()) -> Any:
    transformer = d.SD3Transformer2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        joint_attention_dim=48,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
        dual_attention_layers=dual,
        qk_norm="rms_norm" if dual else None,
        **HEADS,
    )
    return d.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=flow(),
        vae=autoencoder(),
        text_encoder=clip(t.CLIPTextModelWithProjection),
        tokenizer=tokenizer(),
        text_encoder_2=clip(t.CLIPTextModelWithProjection),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5(48),
        tokenizer_3=tokenizer(),
    )


def pixart() -> Any:
    transformer = d.PixArtTransformer2DModel(
        in_channels=4,
        out_channels=8,
        num_layers=3,
        cross_attention_dim=32,
        caption_channels=32,
        sample_size=32,
        use_additional_conditions=False,
        **HEADS,
    )
    return d.PixArtSigmaPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5(),
        vae=autoencoder(),
        transformer=transformer,
        scheduler=d.DPMSolverMultistepScheduler(),
    )


def chroma() -> Any:
    transformer = d.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=3,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=16,
        approximator_hidden_dim=16,
        approximator_layers=1,
        **HEADS,
    )
    return d.ChromaPipeline(
        scheduler=flow(),
        vae=autoencoder(),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        transformer=transformer,
    )


def cogview4() -> Any:
    transformer = d.CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=3,
        text_embed_dim=16,
        time_embed_dim=16,
        condition_dim=8,
        sample_size=16,
        **HEADS,
    )
    return d.CogView4Pipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
        ),
        vae=autoencoder(),
        text_encoder=t.GlmModel(decoder_config(t.GlmConfig)),
        tokenizer=tokenizer(),
        transformer=transformer,
    )


def lumina2() -> Any:
    transformer = d.Lumina2Transformer2DModel(
        sample_size=4,
        in_channels=4,
        hidden_size=32,
        num_layers=3,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(64, 16, 16),
        cap_feat_dim=16,
    )
    return d.Lumina2Pipeline(
        transformer=transformer,
        scheduler=flow(),
        vae=autoencoder(levels=4),  # the pipeline takes 8 pixels a cell for granted
        text_encoder=t.Gemma2Model(decoder_config(t.Gemma2Config)),
        tokenizer=tokenizer(40),
    )


def auraflow() -> Any:
    text = t.UMT5EncoderModel(
        t.UMT5Config(
            vocab_size=len(VOCABULARY),
            d_model=32,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    transformer = d.AuraFlowTransformer2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=2,
        num_single_dit_layers=3,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pos_embed_max_size=256,
        **HEADS,
    )
    return d.AuraFlowPipeline(
        scheduler=flow(),
        vae=autoencoder(),
        text_encoder=text,
        tokenizer=tokenizer(),
        transformer=transformer,
    )


@dataclass(frozen=True)
class Tiny:
    """How to build a tiny pipeline, and the call arguments that suit it."""

    build: Callable[[], Any]
    family: str
    call: dict[str, Any] = field(default_factory=dict)


_LAYERS = {"max_sequence_length": 20, "text_encoder_out_layers": [2]}
_UNBINNED = {"use_resolution_binning": False, "clean_caption": False}

TINY: dict[str, Tiny] = {
    "flux": Tiny(flux, "FLUX.1", {"max_sequence_length": 14}),
    "flux-embedded": Tiny(lambda: flux(embedded=True), "FLUX.1", {"max_sequence_length": 14}),
    "flux2-klein-base": Tiny(flux2_klein, "FLUX.2 klein", _LAYERS),
    "flux2-klein": Tiny(lambda: flux2_klein(distilled=True), "FLUX.2 klein", _LAYERS),
    # Room for the system message, behind which the prompt comes.
    "flux2-dev": Tiny(flux2_dev, "FLUX.2 dev", {**_LAYERS, "max_sequence_length": 120}),
    "qwen-image": Tiny(qwen_image, "Qwen-Image", {"negative_prompt": "plain"}),
    "sana": Tiny(
        sana, "SANA", {**_UNBINNED, "max_sequence_length": 14, "complex_human_instruction": ["user prompt"]}
    ),
    "sd3": Tiny(sd3, "SD3", {"max_sequence_length": 14}),
    "sd3.5-medium": Tiny(lambda: sd3(dual=(0, 1)), "SD3", {"max_sequence_length": 14}),
    "chroma": Tiny(chroma, "Chroma", {"max_sequence_length": 14}),
    "cogview4": Tiny(cogview4, "CogView4"),
    "lumina2": Tiny(lumina2, "Lumina2", {"max_sequence_length": 40, "system_prompt": "a"}),
    "auraflow": Tiny(auraflow, "AuraFlow", {"max_sequence_length": 14}),
    "pixart-sigma": Tiny(pixart, "PixArt-Sigma", {**_UNBINNED, "max_sequence_length": 14}),
}


def built(name: str) -> Any:
    """A tiny pipeline, with weights at which every block does something."""
    torch.manual_seed(0)
    pipeline = TINY[name].build()
    for parameter in pipeline.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return pipeline


def save(name: str, folder: Path) -> Path:
    """Build a tiny pipeline, and save it with the call arguments that suit it."""
    built(name).save_pretrained(folder, safe_serialization=True)
    (folder / "ditscope.json").write_text(json.dumps({"call": TINY[name].call}))
    return folder
