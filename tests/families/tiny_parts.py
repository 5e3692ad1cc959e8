"""Parts of tiny random pipelines: text encoders with tokenizers made on the spot, an autoencoder, a scheduler."""

from __future__ import annotations

from typing import Any

import diffusers as d
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["a", "small", "large", "red", "blue", "white", "circle", "star", "at", "the", "left", "on", "plain"]
MARKS = ["<pad>", "</s>", "<s>", "<unk>"]
VOCABULARY = {word: number for number, word in enumerate([*MARKS, *WORDS])}
PROMPTS = ["a small red circle at the left on a plain blue background", "a large white star"]

CHAT = "{% for m in messages %}{{ m['content'] if m['content'] is string else m['content'][0]['text'] }} {% endfor %}"


def tokenizer(length: int = 16) -> Any:
    """Word-level, with an end mark after the words."""
    engine = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", VOCABULARY["<s>"]), ("</s>", VOCABULARY["</s>"])]
    )
    return t.PreTrainedTokenizerFast(
        tokenizer_object=engine,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        model_max_length=length,
        chat_template=CHAT,
    )


def t5(width: int = 32) -> Any:
    return t.T5EncoderModel(
        t.T5Config(
            vocab_size=len(VOCABULARY),
            d_model=width,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def clip(kind: Any, width: int = 16) -> Any:
    return kind(
        t.CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=width,
            intermediate_size=16,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=1,
        )
    )


def decoder_config(kind: Any, **sizes: Any) -> Any:
    """Sizes that the decoder-only text encoders share."""
    return kind(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        **sizes,
    )


def autoencoder(levels: int = 2) -> Any:
    """2 pixels a latent cell with two levels, and twice as many with each more."""
    return d.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(8,) * levels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def flow() -> Any:
    return d.FlowMatchEulerDiscreteScheduler(shift=2.0)


HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
