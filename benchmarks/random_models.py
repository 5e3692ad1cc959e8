"""Pipelines of published configurations with random weights, opened without a download.

Transformer and autoencoder have the published widths and numbers of blocks. Text encoders are small
stand-ins whose output has the width and the length that the transformer is made for; tokenizers are
made on the spot. Each weight is drawn where it will stay, in the type in which it will stay, so that
building takes no more memory than the weights.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights

import ditscope as ds
from ditscope.models.families import family_of
from ditscope.models.pipeline_call import SETTINGS_FILE
from ditscope.shapes import networks

CHAT = "{% for m in messages %}{{ m['content'] if m['content'] is string else m['content'][0]['text'] }} {% endfor %}"
BLOCK_COUNTS = ("num_layers", "num_single_layers")


def tokenizer(length: int, *, start: bool = True) -> Any:
    """Word-level, over the vocabulary of the shapes captions; other words are unknown."""
    made = networks.tokenizer(start=start)
    made.model_max_length, made.chat_template = length, CHAT
    return made


def token_ids() -> dict[str, int]:
    """What every text encoder's configuration says of the tokenizer."""
    made = networks.tokenizer(start=True)
    return {
        "vocab_size": len(made),
        "pad_token_id": made.pad_token_id,
        "bos_token_id": made.bos_token_id,
        "eos_token_id": made.eos_token_id,
    }


def clip(kind: Any, width: int) -> Any:
    """A CLIP text encoder of this output width: thin layers, 77 tokens."""
    sizes = {"hidden_size": width, "projection_dim": width, "intermediate_size": 16, "num_attention_heads": 2}
    return kind(transformers.CLIPTextConfig(**sizes, num_hidden_layers=2, **token_ids()))


def t5(width: int) -> Any:
    """A T5 encoder of this output width: one thin layer."""
    sizes = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return transformers.T5EncoderModel(
        transformers.T5Config(**sizes, feed_forward_proj="gated-gelu", **token_ids())
    )


def decoder(kind: Any, width: int, layers: int = 2) -> Any:
    """Configuration of a decoder-only text encoder of this output width: thin layers."""
    sizes = {"hidden_size": width, "intermediate_size": 16, "head_dim": 8, "num_hidden_layers": layers}
    return kind(**sizes, num_attention_heads=2, num_key_value_heads=2, **token_ids())


def flux_text(config: Any) -> dict[str, Any]:
    return {
        "text_encoder": clip(transformers.CLIPTextModel, config.pooled_projection_dim),
        "tokenizer": tokenizer(77),
        "text_encoder_2": t5(config.joint_attention_dim),
        "tokenizer_2": tokenizer(512, start=False),
    }


def flux2_klein_text(config: Any) -> dict[str, Any]:
    # The pipeline puts the hidden states after layers 9, 18 and 27 side by side.
    text = decoder(transformers.Qwen3Config, config.joint_attention_dim // 3, layers=28)
    return {"text_encoder": transformers.Qwen3ForCausalLM(text), "tokenizer": tokenizer(512)}


def qwen_image_text(config: Any) -> dict[str, Any]:
    text = decoder(transformers.Qwen2Config, config.joint_attention_dim, layers=1).to_dict()
    # Its heads are as wide as the hidden width divided by their number, and rotated in three parts.
    text |= {"num_attention_heads": config.joint_attention_dim // 128, "head_dim": 128}
    text["rope_scaling"] = {"type": "default", "mrope_section": [16, 24, 24]}
    del text["model_type"]
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    marks = ("image", "video", "vision_start", "vision_end")
    full = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**vision, "out_hidden_size": config.joint_attention_dim, "fullatt_block_indexes": [0]},
        **{f"{mark}_token_id": networks.tokenizer(start=True).unk_token_id for mark in marks},
    )
    encoder = transformers.Qwen2_5_VLForConditionalGeneration(full)
    return {"text_encoder": encoder, "tokenizer": tokenizer(1024)}


def sana_text(config: Any) -> dict[str, Any]:
    text = decoder(transformers.Gemma2Config, config.caption_channels)
    return {"text_encoder": transformers.Gemma2Model(text), "tokenizer": tokenizer(300)}


def pixart_text(config: Any) -> dict[str, Any]:
    return {"text_encoder": t5(config.caption_channels), "tokenizer": tokenizer(300, start=False)}


def sd3_text(config: Any) -> dict[str, Any]:
    # Of the pooled width, CLIP-L has three parts in eight and CLIP-G five.
    part = config.pooled_projection_dim // 8
    return {
        "text_encoder": clip(transformers.CLIPTextModelWithProjection, 3 * part),
        "tokenizer": tokenizer(77),
        "text_encoder_2": clip(transformers.CLIPTextModelWithProjection, 5 * part),
        "tokenizer_2": tokenizer(77),
        "text_encoder_3": t5(config.joint_attention_dim),
        "tokenizer_3": tokenizer(256, start=False),
    }


@dataclass(frozen=True)
class Model:
    """A published pipeline: what differs from the defaults of the library's own classes.

    Attributes:
        pipeline: its diffusers class.
        transformer: the transformer's configuration.
        autoencoder: the autoencoder's class and configuration.
        scheduler: the scheduler's class and configuration.
        text: makes small text encoders and tokenizers that suit a transformer's configuration.
        settings: the pipeline's own settings.
        call: call arguments that suit random weights.
    """

    pipeline: str
    transformer: Mapping[str, Any]
    autoencoder: tuple[str, Mapping[str, Any]]
    scheduler: tuple[str, Mapping[str, Any]]
    text: Callable[[Any], dict[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)

    def config(self, layers: int | None = None) -> dict[str, Any]:
        """The transformer's configuration, with every list of blocks cut to ``layers`` of them."""
        library_class = getattr(diffusers, family_of(self.pipeline).transformer_class)
        defaults = inspect.signature(library_class.__init__).parameters
        config = dict(self.transformer)
        for count in BLOCK_COUNTS if layers is not None else ():
            if count in defaults:
                config[count] = min(layers, config.get(count, defaults[count].default))
        return config


_LEVELS = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 1024,
}
_16_CHANNELS = {**_LEVELS, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
_EVIT = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3

FLUX_AUTOENCODER = ("AutoencoderKL", {**_16_CHANNELS, "scaling_factor": 0.3611, "shift_factor": 0.1159})
SD3_AUTOENCODER = ("AutoencoderKL", {**_16_CHANNELS, "scaling_factor": 1.5305, "shift_factor": 0.0609})
SDXL_AUTOENCODER = ("AutoencoderKL", {**_LEVELS, "scaling_factor": 0.13025})
SANA_AUTOENCODER = (
    "AutoencoderDC",
    {
        "encoder_block_types": _EVIT,
        "decoder_block_types": _EVIT,
        "downsample_block_type": "conv",
        "upsample_block_type": "interpolate",
        "scaling_factor": 0.41407,
    },
)

_EULER = "FlowMatchEulerDiscreteScheduler"
_SHIFTED = (_EULER, {"shift": 3.0, "use_dynamic_shifting": True})
_DPM = "DPMSolverMultistepScheduler"
_FLOW_DPM = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}

_SD3 = {
    "num_attention_heads": 24,
    "num_layers": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
_SD35_LARGE = {"num_attention_heads": 38, "num_layers": 38, "caption_projection_dim": 2432}
_KLEIN = {
    "num_layers": 5,
    "num_single_layers": 20,
    "num_attention_heads": 24,
    "joint_attention_dim": 7680,
    "guidance_embeds": False,
}
# The size is what was asked for, and not the nearest that the model was trained at.
_AS_ASKED = {"use_resolution_binning": False, "clean_caption": False}

MODELS: dict[str, Model] = {
    "FLUX.1-dev": Model("FluxPipeline", {"guidance_embeds": True}, FLUX_AUTOENCODER, _SHIFTED, flux_text),
    "FLUX.1-schnell": Model("FluxPipeline", {}, FLUX_AUTOENCODER, (_EULER, {}), flux_text),
    "FLUX.2-klein-4B": Model(
        "Flux2KleinPipeline",
        _KLEIN,
        ("AutoencoderKLFlux2", {}),
        _SHIFTED,
        flux2_klein_text,
        settings={"is_distilled": True},
    ),
    "Qwen-Image": Model(
        "QwenImagePipeline",
        {},
        ("AutoencoderKLQwenImage", {}),
        (_EULER, {"use_dynamic_shifting": True, "max_shift": 0.9, "max_image_seq_len": 8192}),
        qwen_image_text,
    ),
    "SANA-1.6B": Model("SanaPipeline", {}, SANA_AUTOENCODER, (_DPM, _FLOW_DPM), sana_text, call=_AS_ASKED),
    "SD3-medium": Model(
        "StableDiffusion3Pipeline", _SD3, SD3_AUTOENCODER, (_EULER, {"shift": 3.0}), sd3_text
    ),
    "SD3.5-large": Model(
        "StableDiffusion3Pipeline",
        {**_SD35_LARGE, "pos_embed_max_size": 192, "qk_norm": "rms_norm"},
        SD3_AUTOENCODER,
        (_EULER, {"shift": 3.0}),
        sd3_text,
    ),
    "PixArt-Sigma": Model(
        "PixArtSigmaPipeline",
        {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
        SDXL_AUTOENCODER,
        (_DPM, {}),
        pixart_text,
        call=_AS_ASKED,
    ),
}


def open_random(
    model: Model,
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    storage: torch.dtype | None = None,
    layers: int | None = None,
) -> ds.DiT:
    """A model with random weights, opened by ``ds.load``.

    Args:
        model: its configuration.
        folder: where the pipeline's index is written; the weights are not.
        device: where the weights are made.
        dtype: of the weights and of the computation.
        storage: of the transformer's weights between uses, by diffusers' layerwise casting.
        layers: keep so many blocks of each list.
    """
    torch.manual_seed(0)
    pipeline_class = getattr(diffusers, model.pipeline)
    transformer_class = getattr(diffusers, family_of(model.pipeline).transformer_class)
    with init_empty_weights():
        transformer = transformer_class.from_config(model.config(layers))
        autoencoder = getattr(diffusers, model.autoencoder[0]).from_config(model.autoencoder[1])
    for network in (transformer, autoencoder):
        torch.nn.Module.to(network, dtype)  # the library's own warns of modules that it would leave alone
    if storage is not None:
        transformer.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
    for network in (transformer, autoencoder):
        fill(network, device, dtype)
    text = model.text(transformer.config)
    for part in text.values():
        if isinstance(part, torch.nn.Module):
            part.to(device, dtype).eval()
    scheduler = getattr(diffusers, model.scheduler[0])(**model.scheduler[1])
    pipeline = pipeline_class(
        transformer=transformer, vae=autoencoder, scheduler=scheduler, **text, **model.settings
    )
    pipeline.save_config(folder)
    (folder / SETTINGS_FILE).write_text(json.dumps({"call": dict(model.call)}))
    parts = {name: part for name, part in pipeline.components.items() if part is not None}
    return ds.load(str(folder), device=device, **parts)


def fill(network: torch.nn.Module, device: str, dtype: torch.dtype) -> None:
    """Give a network's empty parameters random values, one parameter after the other."""
    for owner in network.modules():
        for name, empty in list(owner.named_parameters(recurse=False)):
            values = random_values(name, empty.shape, device, dtype).to(empty.dtype)
            setattr(owner, name, torch.nn.Parameter(values, requires_grad=False))
    network.to(device).eval()


def random_values(name: str, shape: torch.Size, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Normal, at the scale at which a layer's output is as large as its input; norms are ones, biases zeros.

    With it gates are of order one, every block does something, and hidden states stay finite.
    """
    values = torch.empty(shape, dtype=dtype, device=device)
    if values.numel() == max(shape):  # a vector, whatever its number of dimensions
        return values.zero_() if name.endswith("bias") else values.fill_(1.0)
    return values.normal_(std=(shape[0] / values.numel()) ** 0.5)
